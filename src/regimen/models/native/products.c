/* Matrix products out = sum of A B over some pairs of matrices, fp32 or bf16, with fp32 sums.
 *
 * A number here is a unit of 32 bits along the inner dimension: one fp32 or two bf16 that are
 * multiplied together. B is packed beforehand into panels of 64 columns, so that the innermost loop
 * reads it in one stream (Goto and van de Geijn 2008); A is read where it stands, or, transposed,
 * packed a block at a time. Every number of the output is summed by one thread in one order.
 *
 * Letters: M rows and N columns of the output, K inner dimension, U units of it.
 */
#include "vectors.h"

/* Whether pairs of bf16 are multiplied in one instruction. */
#ifdef __AVX512BF16__
#include <immintrin.h>
const int multiplies_bf16 = 1;
INLINE vec times_pairs(vec sum, uint32_t a, uvec b) {
    return (vec)_mm512_dpbf16_ps((__m512)sum, (__m512bh)((uvec){} + a), (__m512bh)b);
}
#else
const int multiplies_bf16 = 0; /* what follows is right, and slow: products.py does not ask for it */
INLINE vec times_pairs(vec sum, uint32_t a, uvec b) {
    vec a_even = (vec)((uvec){} + (a << 16)), a_odd = (vec)((uvec){} + (a & 0xffff0000));
    return sum + a_even * (vec)(b << 16) + a_odd * (vec)(b & 0xffff0000);
}
#endif
INLINE vec times(vec sum, uint32_t a, uvec b) { return sum + (vec)((uvec){} + a) * (vec)b; }

#define TILE 6   /* rows in registers */
#if defined(__AVX__) && !defined(__AVX512F__)
#define WIDE 2   /* vectors in registers: columns of a panel */
#else
#define WIDE 4
#endif
#define PANEL (WIDE * LANES)
#define DEEP 512 /* units of a block */
#define AHEAD 8  /* units between fetching and use */
#define CACHE (5 << 17) /* bytes of B that stay in the second cache, perhaps */
#define SLAB (4 << 20) /* bytes of B that are packed at a time */

/* sums (TILE, COUNT vectors) = or += A B; A is read at a[r * row + u * unit]. */
#define KERNEL(NAME, OP, COUNT)                                                                    \
    static void NAME(const uint32_t *a, long row, long unit, const uint32_t *b, float *sums,       \
                     long units, int add) {                                                        \
        reg acc[TILE][COUNT];                                                                      \
        _Pragma("GCC unroll 6") for (int r = 0; r < TILE; r++)                                     \
            _Pragma("GCC unroll 4") for (int c = 0; c < COUNT; c++)                                \
                acc[r][c] = add ? (reg)load(sums + (r * COUNT + c) * LANES) : (reg){};             \
        for (long u = 0; u < units; u++) {                                                         \
            uvec part[COUNT];                                                                      \
            _Pragma("GCC unroll 4") for (int c = 0; c < COUNT; c++)                                \
                part[c] = *(const uvec *)(b + (u * COUNT + c) * LANES);                            \
            _Pragma("GCC unroll 6") for (int r = 0; r < TILE; r++)                                 \
                _Pragma("GCC unroll 4") for (int c = 0; c < COUNT; c++)                            \
                    acc[r][c] = (reg)OP((vec)acc[r][c], a[r * row + u * unit], part[c]);           \
        }                                                                                          \
        _Pragma("GCC unroll 6") for (int r = 0; r < TILE; r++)                                     \
            _Pragma("GCC unroll 4") for (int c = 0; c < COUNT; c++)                                \
                store(sums + (r * COUNT + c) * LANES, (vec)acc[r][c]);                             \
    }
KERNEL(pairs_1, times_pairs, 1)
KERNEL(pairs_2, times_pairs, 2)
KERNEL(singles_1, times, 1)
KERNEL(singles_2, times, 2)
typedef void kernel(const uint32_t *, long, long, const uint32_t *, float *, long, int);
#if WIDE == 2
static kernel *const KERNELS[2][WIDE] = {{singles_1, singles_2}, {pairs_1, pairs_2}};
#else
KERNEL(pairs_3, times_pairs, 3)
KERNEL(pairs_4, times_pairs, 4)
KERNEL(singles_3, times, 3)
KERNEL(singles_4, times, 4)
static kernel *const KERNELS[2][WIDE] = {{singles_1, singles_2, singles_3, singles_4},
                                         {pairs_1, pairs_2, pairs_3, pairs_4}};
#endif

INLINE long least(long a, long b) { return a < b ? a : b; }

/* Pieces of about equal size: where piece `i` of `pieces` begins. */
INLINE long edge(long i, long pieces, long whole) { return i * whole / pieces; }

/* ---- packing ---- */

/* A vector of an fp32 or bf16 array, of which `count` are there; the rest is zero. */
INLINE vec get_left(const void *p, long i, long count, int low) {
    return count >= LANES ? get(p, i, low) : count > 0 ? get_some(p, i, count, 0, low) : all(0);
}

/* A vector of an fp32 or bf16 array as the lower halves of units, times a factor; `count` of
 * them are there, the rest is zero. */
INLINE uvec halves(const void *p, long i, long count, float factor, int low) {
    if (low && factor == 1.0f && count >= LANES)
        return __builtin_convertvector(*(const hvec *)((const uint16_t *)p + i), uvec);
    return __builtin_convertvector(narrow(get_left(p, i, count, low) * factor), uvec);
}

/* A vector of units of a row of K numbers. */
INLINE uvec units_of_row(const void *p, long i, long count, float factor, int low, int to_low) {
    if (!to_low) return (uvec)(get_left(p, i, count, low) * factor);
    hvec two[2];
    for (int h = 0; h < 2; h++)
        two[h] = narrow(get_left(p, i + h * LANES, count - h * LANES, low) * factor);
    uvec both;
    memcpy(&both, two, sizeof both);
    return both;
}

INLINE long units_of(long K, int low) { return low ? (K + 1) / 2 : K; }

typedef struct {
    const void *x; /* row by row, `ld` numbers apart */
    int low;
    long ld;
    int turned;    /* B is the transpose of x, which is (N, K) */
    float factor;
} source;

/* Columns n .. n + LANES of B at units u0 .. u1 to rows of `width` units. */
INLINE void pack_columns(const source *s, int x_low, long n, long u0, long u1, uint32_t *to,
                         long width, int low, long K, long N) {
    long here = least(N - n, LANES), each = low ? 2 : 1;
    if (s->turned) {
        reg r[LANES];
        for (long i = 0; i < LANES; i++)
            r[i] = i < here ? (reg)units_of_row(s->x, (n + i) * s->ld + u0 * each, K - u0 * each,
                                                s->factor, x_low, low)
                            : (reg){};
        transpose_square(r);
        for (long u = u0; u < u1; u++) store((float *)to + (u - u0) * width, (vec)r[u - u0]);
        return;
    }
    for (long u = u0; u < u1; u++) {
        uvec unit;
        if (low) {
            unit = halves(s->x, 2 * u * s->ld + n, here, s->factor, x_low);
            if (2 * u + 1 < K)
                unit |= halves(s->x, (2 * u + 1) * s->ld + n, here, s->factor, x_low) << 16;
        } else {
            unit = units_of_row(s->x, u * s->ld + n, here, s->factor, x_low, 0);
        }
        store((float *)to + (u - u0) * width, (vec)unit);
    }
}

/* Panels p0 .. p1 of B (K, N) = factor * x or its transpose: each (U, columns), the columns of the
 * last rounded up to whole vectors, zeros beyond. By all threads of a parallel region, which do not
 * wait for each other at the end. */
static void pack_panels(const source *s, uint32_t *out, int low, long K, long N, long p0, long p1) {
    long U = units_of(K, low), columns = round_up(N, LANES), steps = (U + LANES - 1) / LANES;
    long groups = (least(p1 * PANEL, columns) - p0 * PANEL) / LANES;
#pragma omp for schedule(static) nowait
    for (long i = 0; i < groups * steps; i++) { /* along the rows of x */
        long group = s->turned ? i / steps : i % groups, step = s->turned ? i % steps : i / groups;
        long n = p0 * PANEL + group * LANES, first = n / PANEL * PANEL, u0 = step * LANES;
        long width = least(PANEL, columns - first), u1 = least(u0 + LANES, U);
        uint32_t *to = out + (first - p0 * PANEL) * U + u0 * width + (n - first);
        if (low && s->low)
            pack_columns(s, 1, n, u0, u1, to, width, 1, K, N);
        else if (low)
            pack_columns(s, 0, n, u0, u1, to, width, 1, K, N);
        else
            pack_columns(s, s->low, n, u0, u1, to, width, 0, K, N);
    }
}

/* All panels of B at once, for those who multiply by it more than once. */
void pack(const void *x, int x_low, long ld, int turned, float factor, uint32_t *out, int low,
          long K, long N, int threads) {
    source s = {x, x_low, ld, turned, factor};
#pragma omp parallel num_threads(threads)
    pack_panels(&s, out, low, K, N, 0, (round_up(N, LANES) + PANEL - 1) / PANEL);
}

/* ---- products ---- */

typedef struct {
    const void *a;      /* (M, K), or with `turned` (K, M); row by row, `lda` numbers apart */
    long lda, turned;
    source given;       /* B (K, N), unless it is packed */
    const uint32_t *b;  /* panels of B from the first of the slab on */
    long K;
    long end;           /* of the numbers of A, if it is turned */
} pair;

/* Eight units, of which a tile's are wanted: rows m .. m + TILE of A at unit u. */
typedef uint32_t uvec8 __attribute__((vector_size(32), aligned(4), may_alias));
typedef uint16_t half8 __attribute__((vector_size(16), aligned(2), may_alias));
INLINE uvec8 turned_unit(const pair *p, long u, long m, long count, int low) {
    long each = low ? 2 : 1, i = each * u * p->lda + m, j = i + p->lda;
    int both = low && 2 * u + 1 < p->K, whole = count == TILE && i + 8 <= p->end;
    if (whole && (!both || j + 8 <= p->end)) {
        if (!low) return *(const uvec8 *)((const float *)p->a + i);
        const uint16_t *a = p->a;
        uvec8 unit = __builtin_convertvector(*(const half8 *)(a + i), uvec8);
        if (both) unit |= __builtin_convertvector(*(const half8 *)(a + j), uvec8) << 16;
        return unit;
    }
    uint32_t one[8] = {0};
    for (long r = 0; r < count; r++)
        if (low)
            one[r] = ((const uint16_t *)p->a)[i + r] |
                     (both ? (uint32_t)((const uint16_t *)p->a)[j + r] << 16 : 0);
        else
            one[r] = ((const uint32_t *)p->a)[i + r];
    return *(const uvec8 *)one;
}

/* Rows m .. m + rows of A at units u0 .. u1 as (tiles, units, TILE), A being (K, M); what lies
 * beyond the last row is zero. */
INLINE void turn_block(const pair *p, long m, long rows, long u0, long u1, uint32_t *out, int low) {
    long units = u1 - u0, each = low ? 2 : 1;
    for (long u = u0; u < u1; u++) {
        /* rows of A lie far apart; where this is beyond the end, nothing is fetched */
        for (long i = 0; i < each; i++)
            fetch(p->a, ((u + AHEAD) * each + i) * p->lda + m, rows, low);
        uint32_t *to = out + (u - u0) * TILE;
        /* the next store of a tile mends what a whole vector writes beyond it */
        for (long first = 0; first < rows; first += TILE, to += units * TILE) {
            uvec8 unit = turned_unit(p, u, m + first, least(rows - first, TILE), low);
            if (u + 1 < u1)
                *(uvec8 *)to = unit;
            else
                memcpy(to, &unit, TILE * sizeof(uint32_t));
        }
    }
}

typedef struct {
    void *out;
    int low;
    long ld;
    float factor;
    int add;
    const float *bias; /* of each column, or NULL */
} target;

/* One tile of finished sums into the output. */
static void finish(const target *t, const float *sums, long m, long rows, long n, long columns,
                   long width) {
    for (long r = 0; r < rows; r++)
        for (long c = 0; c < columns; c += LANES) {
            long at = (m + r) * t->ld + n + c, here = least(columns - c, LANES);
            vec x = load(sums + r * width + c) * t->factor;
            if (here == LANES) {
                if (t->bias) x += load(t->bias + n + c);
                if (t->add) x += get(t->out, at, t->low);
                put(t->out, at, x, t->low);
            } else {
                if (t->bias) x += load_some(t->bias + n + c, here, 0);
                if (t->add) x += get_some(t->out, at, here, 0, t->low);
                put_some(t->out, at, x, here, t->low);
            }
        }
}

/* Where sums stay between one part of the inner dimension and the next: the tile at row `m` and
 * panel `p` first, `stride` tiles to a row of them. */
typedef struct {
    float *sums;
    long m, p, stride;
} room;

/* The part of a tile of A at units u0 .. u0 + units, with zeros for rows that are not there. */
INLINE const uint32_t *rows_of(const pair *p, long m, long rows, long u0, long units, uint32_t *area,
                               long *row, int low) {
    long each = low ? 2 : 1, size = 4 / each;
    const char *from = (const char *)p->a + (m * p->lda + u0 * each) * size;
    *row = p->lda / each;
    if (rows == TILE && p->lda % each == 0) return (const uint32_t *)from;
    memset(area, 0, (size_t)TILE * units * sizeof(uint32_t));
    for (long r = 0; r < rows; r++)
        memcpy(area + r * units, from + r * p->lda * size, (size_t)units * sizeof(uint32_t));
    *row = units;
    return area;
}

/* The block of the output at rows m0 .. m1 and panels p0 .. p1. `b` of a pair begins with panel
 * `slab`. Unless this is the `first` part, sums are there; unless it is the `last`, they stay. */
static void block(const pair *pairs, long count, int low, const target *to, long m0, long m1,
                  long p0, long p1, long slab, long N, room at, int first, int last,
                  uint32_t *area) {
    long columns = round_up(N, LANES), steps = 0, step = 0, size = to->low ? 2 : 4;
    for (long i = 0; i < count; i++) steps += (units_of(pairs[i].K, low) + DEEP - 1) / DEEP;
    int stays = steps > 1 || !first || !last;
    for (long i = 0; i < count; i++) {
        const pair *p = pairs + i;
        long U = units_of(p->K, low), pieces = (U + DEEP - 1) / DEEP;
        for (long piece = 0; piece < pieces; piece++, step++) {
            long u0 = edge(piece, pieces, U), units = edge(piece + 1, pieces, U) - u0;
            int ends = last && step == steps - 1;
            if (p->turned && low) turn_block(p, m0, m1 - m0, u0, u0 + units, area, 1);
            if (p->turned && !low) turn_block(p, m0, m1 - m0, u0, u0 + units, area, 0);
            for (long panel = p0; panel < p1; panel++) {
                long n = panel * PANEL, width = least(PANEL, columns - n);
                kernel *run = KERNELS[low][width / LANES - 1];
                const uint32_t *b = p->b + (n - slab * PANEL) * U + u0 * width;
                for (long m = m0; m < m1; m += TILE) {
                    long rows = least(TILE, m1 - m), row = 1, unit = p->turned ? TILE : 1;
                    const uint32_t *a = area + (m - m0) * units;
                    if (!p->turned) a = rows_of(p, m, rows, u0, units, area, &row, low);
                    float *tile = at.sums;
                    if (stays)
                        tile += ((m / TILE - at.m) * at.stride + panel - at.p) * TILE * PANEL;
                    for (long r = 0; ends && r < rows; r++) /* what `finish` is going to write */
                        for (long byte = 0; byte < width * size; byte += 64)
                            __builtin_prefetch(
                                (char *)to->out + ((m + r) * to->ld + n) * size + byte, 1);
                    run(a, row, unit, b, tile, units, !first || step > 0);
                    if (ends) finish(to, tile, m, rows, n, least(width, N - n), width);
                }
            }
        }
    }
}

/* How a slab of the output is cut: `down` times `across` blocks, with room for the largest. */
typedef struct {
    long down, across, sums, area;
} cut;

static cut cut_of(long tiles, long panels, long deepest, long units, int threads) {
    long deep = least(deepest, DEEP); /* the most units of a piece, whichever pair it is of */
    /* panels of B for the second cache, rows of A for the first, and something for every thread */
    long down = (tiles + 15) / 16, across = (panels * deep * PANEL * 4 + CACHE - 1) / CACHE;
    across = least(across, panels);
    while (down * across < 4 * threads && (down < tiles || across < panels)) {
        if (down < tiles && (tiles / down >= panels / across || across == panels))
            down = least(2 * down, tiles);
        else
            across = least(2 * across, panels);
    }
    if (down * across % threads && down < tiles) down = least(round_up(down, threads), tiles);
    long most_tiles = (tiles + down - 1) / down, most_panels = (panels + across - 1) / across;
    return (cut){down, across, TILE * PANEL * (units > deep ? most_tiles * most_panels : 1),
                 deep * TILE * most_tiles + LANES};
}

#define TERMS 16

/* A part of the inner dimension. */
static pair part_of(pair p, long part, long parts, int low) {
    long each = low ? 2 : 1, U = units_of(p.K, low);
    long from = edge(part, parts, U) * each, size = 4 / each, x_size = p.given.low ? 2 : 4;
    p.K = least(edge(part + 1, parts, U) * each, p.K) - from;
    p.a = (const char *)p.a + from * (p.turned ? p.lda : 1) * size;
    p.end -= p.turned ? from * p.lda : 0;
    p.given.x = (const char *)p.given.x + from * (p.given.turned ? 1 : p.given.ld) * x_size;
    return p;
}

/* out (M, N) = factor * sum of A B + bias, or that much more with `add`. Numbers of A are of one
 * type; a row of bf16 that is not turned has an even number of them. B is packed a slab of columns
 * at a time, into a few megabytes. Eight numbers are given of each A and B: A, its ld, whether it
 * is turned, K, B, its ld, whether that is bf16, and what it is: 0 as it stands, 1 turned, 2 packed. */
void products(void *out, int out_low, long ld, float factor, int add, const float *bias,
              const int64_t *given, const float *factors, long count, int low, long M, long N,
              int threads) {
    pair pairs[TERMS];
    const uint32_t *packed[TERMS];
    long deepest = 0, units = 0, fresh = 0;
    for (long i = 0; i < count; i++) {
        const int64_t *g = given + 8 * i;
        source s = {(const void *)g[4], (int)g[6], g[5], g[7] == 1, factors[i]};
        pairs[i] = (pair){(const void *)g[0], g[1], g[2], s, NULL, g[3], (g[3] - 1) * g[1] + M};
        packed[i] = g[7] == 2 ? (const uint32_t *)g[4] : NULL;
        long U = units_of(g[3], low);
        deepest = U > deepest ? U : deepest;
        units += U;
        fresh += packed[i] ? 0 : U;
    }
    target to = {out, out_low, ld, factor, add, bias};
    long tiles = (M + TILE - 1) / TILE, panels = (round_up(N, LANES) + PANEL - 1) / PANEL;
    /* as many columns as fit into a slab, or all columns and a part of the inner dimension */
    long most = fresh ? SLAB / (fresh * PANEL * 4) : panels, parts = 1;
    long wide = most < 1 ? 1 : least(most, panels);
    if (wide < panels && count == 1 && tiles * panels * TILE * PANEL * 4 <= SLAB) {
        parts = (units * panels * PANEL * 4 + SLAB - 1) / SLAB;
        wide = panels;
    }
    long slabs = (panels + wide - 1) / wide, deep_part = (units + parts - 1) / parts;
    uint32_t *packs = NULL;
    if (fresh)
        packs = (uint32_t *)enter(0, (size_t)(parts > 1 ? deep_part : fresh) * PANEL * wide);
    float *kept = parts > 1 ? enter(1, (size_t)tiles * panels * TILE * PANEL) : NULL;
    for (long round = 0; round < slabs * parts; round++) {
        long slab = round / parts, part = round % parts;
        long p0 = edge(slab, slabs, panels), p1 = edge(slab + 1, slabs, panels);
        pair now[TERMS];
        uint32_t *next = packs;
        for (long i = 0; i < count; i++) {
            now[i] = parts > 1 ? part_of(pairs[i], part, parts, low) : pairs[i];
            long U = units_of(now[i].K, low);
            now[i].b = packed[i] ? packed[i] + p0 * PANEL * U : next;
            if (!packed[i]) next += U * PANEL * (p1 - p0);
        }
        cut c = cut_of(tiles, p1 - p0, least(deepest, deep_part), parts > 1 ? deep_part : units,
                       threads);
#pragma omp parallel num_threads(threads)
        {
            for (long i = 0; i < count; i++)
                if (!packed[i])
                    pack_panels(&now[i].given, (uint32_t *)now[i].b, low, now[i].K, N, p0, p1);
            float *own = enter(2, (size_t)(c.sums + c.area));
#pragma omp barrier
#pragma omp for schedule(dynamic, 1)
            for (long task = 0; task < c.down * c.across; task++) {
                long i = task / c.across, j = task % c.across;
                long t0 = edge(i, c.down, tiles), t1 = edge(i + 1, c.down, tiles);
                long from = p0 + edge(j, c.across, p1 - p0), end = p0 + edge(j + 1, c.across, p1 - p0);
                room at = kept ? (room){kept, 0, p0, p1 - p0} : (room){own, t0, from, end - from};
                block(now, count, low, &to, t0 * TILE, least(t1 * TILE, M), from, end, p0, N, at,
                      part == 0, part == parts - 1, (uint32_t *)(own + c.sums));
            }
            leave(2, own);
        }
    }
    leave(0, (float *)packs);
    leave(1, kept);
}
