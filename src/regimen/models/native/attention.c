/* Attention along the paths of a forest of segments, with its gradient, and of one new token over a
 * cache.
 *
 * Letters: T tokens, H query heads, K key heads, W width of a head, S segments, P positions of a path
 * (a segment and its ancestors).
 */
#include "vectors.h"

/* Rows and columns of vectors of a product in registers, of which there are 32 or 16. */
#if defined(__AVX512F__)
#define ROWS 8
#else
#define ROWS 4 /* LANES is a multiple */
#endif
#define COLUMNS 2
#define QUERIES 32 /* of a block */

/* C (ROWS, COUNT vectors) = or += A (ROWS, depth) B (depth, the same); A is read at
 * A[r * ar + k * ak]. */
#define PRODUCT(NAME, COUNT)                                                                       \
    INLINE void NAME(const float *A, long ar, long ak, const float *B, long ldb, float *C,         \
                     long ldc, long depth, int add) {                                              \
        reg acc[ROWS][COUNT];                                                                      \
        _Pragma("GCC unroll 8") for (int r = 0; r < ROWS; r++)                                     \
            _Pragma("GCC unroll 4") for (int c = 0; c < COUNT; c++)                                \
                acc[r][c] = add ? (reg)load(C + r * ldc + c * LANES) : (reg){};                    \
        for (long k = 0; k < depth; k++) {                                                         \
            reg b[COUNT];                                                                          \
            _Pragma("GCC unroll 4") for (int c = 0; c < COUNT; c++)                                \
                b[c] = (reg)load(B + k * ldb + c * LANES);                                         \
            _Pragma("GCC unroll 8") for (int r = 0; r < ROWS; r++) {                               \
                float a = A[r * ar + k * ak];                                                      \
                _Pragma("GCC unroll 4") for (int c = 0; c < COUNT; c++) acc[r][c] += a * b[c];     \
            }                                                                                      \
        }                                                                                          \
        _Pragma("GCC unroll 8") for (int r = 0; r < ROWS; r++)                                     \
            _Pragma("GCC unroll 4") for (int c = 0; c < COUNT; c++)                                \
                store(C + r * ldc + c * LANES, (vec)acc[r][c]);                                    \
    }
PRODUCT(product_1, 1)
PRODUCT(product_2, COLUMNS)

/* N columns, a multiple of LANES. */
static void product(const float *A, long ar, long ak, const float *B, long ldb, float *C, long ldc,
                    long depth, long N, int add) {
    long n = 0;
    for (; n + COLUMNS * LANES <= N; n += COLUMNS * LANES)
        product_2(A, ar, ak, B + n, ldb, C + n, ldc, depth, add);
    for (; n < N; n += LANES) product_1(A, ar, ak, B + n, ldb, C + n, ldc, depth, add);
}

/* out (W, P) = in (P, W) transposed; both multiples of LANES. */
static void transpose(const float *in, float *out, long P, long W) {
    for (long p = 0; p < P; p += LANES)
        for (long w = 0; w < W; w += LANES) {
            reg r[LANES];
            for (int i = 0; i < LANES; i++) r[i] = (reg)load(in + (p + i) * W + w);
            transpose_square(r);
            for (int i = 0; i < LANES; i++) store(out + (w + i) * P + p, (vec)r[i]);
        }
}

/* The forest of segments, and the attention of all of them. */
typedef struct {
    long H, K, W, Wp;
    int low;
    float scale;
    long window;           /* positions that a query sees, 0 for all */
    const int64_t *start;  /* (S) first row of each segment */
    const int64_t *length; /* (S) */
    const int64_t *path;   /* segments of every path, from the root to the segment itself */
    const int64_t *path_at; /* (S + 1) where a segment's path begins */
    const int64_t *tree;   /* segments, tree by tree */
    const int64_t *tree_at; /* (trees + 1) */
    long trees;
} forest;

static long path_length(const forest *f, long s) {
    long n = 0;
    for (long i = f->path_at[s]; i < f->path_at[s + 1]; i++) n += f->length[f->path[i]];
    return n;
}

/* Numbers of one head, times `factor` and padded with zeros. */
INLINE void copy_row(const void *x, long at, long W, int low, float factor, float *out) {
    long w = 0;
    for (; w + LANES <= W; w += LANES) store(out + w, get(x, at + w, low) * factor);
    if (w < W) store(out + w, get_some(x, at + w, W - w, 0, low) * factor);
}

/* The reverse. */
INLINE void keep_row(const float *in, float factor, long W, void *x, long at, int low) {
    long w = 0;
    for (; w + LANES <= W; w += LANES) put(x, at + w, load(in + w) * factor, low);
    if (w < W) put_some(x, at + w, load(in + w) * factor, W - w, low);
}

/* Rows of one head along a path, padded with zeros: (Pp, Wp) from x (T, heads, W). */
static void gather(const forest *f, long s, const void *x, long heads, long head, float *out,
                   long Pp) {
    long row = 0;
    for (long i = f->path_at[s]; i < f->path_at[s + 1]; i++) {
        long piece = f->path[i];
        for (long t = 0; t < f->length[piece]; t++, row++) {
            copy_row(x, ((f->start[piece] + t) * heads + head) * f->W, f->W, f->low, 1.0f,
                     out + row * f->Wp);
        }
    }
    memset(out + row * f->Wp, 0, (size_t)(Pp - row) * f->Wp * sizeof(float));
}

/* The reverse: add rows to x. */
static void scatter(const forest *f, long s, float *x, long heads, long head, const float *in) {
    long row = 0;
    for (long i = f->path_at[s]; i < f->path_at[s + 1]; i++) {
        long piece = f->path[i];
        for (long t = 0; t < f->length[piece]; t++, row++) {
            float *to = x + ((f->start[piece] + t) * heads + head) * f->W;
            for (long w = 0; w < f->W; w++) to[w] += in[row * f->Wp + w];
        }
    }
}

/* A block of `count` rows of one head from row `first`, times `factor`: (QUERIES, Wp). */
static void block_of(const forest *f, const void *x, long heads, long head, long first, long count,
                     float factor, float *out) {
    memset(out, 0, (size_t)QUERIES * f->Wp * sizeof(float));
    for (long r = 0; r < count; r++)
        copy_row(x, ((first + r) * heads + head) * f->W, f->W, f->low, factor, out + r * f->Wp);
}

/* Scores (QUERIES, n) become e^(score - shift[r]) where a query may look, and 0 elsewhere; without
 * shift, the row's largest score is taken. Gives largest and sum of each row where asked. */
INLINE void probabilities(float *row, long low, long high, long n, float shift, vec *sum) {
    ivec lane;
    for (int i = 0; i < LANES; i++) lane[i] = i;
    long begin = low / LANES * LANES;
    memset(row, 0, (size_t)begin * sizeof(float));
    vec total = all(0);
    long j = begin;
    for (; j < high; j += LANES) {
        vec e = exp_v(load(row + j) - shift);
        if (j < low || j + LANES > high) {
            ivec at = lane + (int32_t)j;
            ivec inside = (at >= (ivec){} + (int32_t)low) & (at < (ivec){} + (int32_t)high);
            e = pick(inside, e, all(0));
        }
        store(row + j, e);
        total += e;
    }
    if (j < n) memset(row + j, 0, (size_t)(n - j) * sizeof(float));
    *sum = total;
}

INLINE float largest_between(const float *row, long low, long high) {
    float m = -INFINITY;
    long j = low;
    vec v = all(-INFINITY);
    for (; j + LANES <= high; j += LANES) {
        vec x = load(row + j);
        v = pick(x > v, x, v);
    }
    m = largest_of(v);
    for (; j < high; j++) m = row[j] > m ? row[j] : m;
    return m;
}

/* First key that the query at position `at` sees. */
INLINE long first_seen(const forest *f, long at) {
    return f->window && at >= f->window ? at - f->window + 1 : 0;
}

static void forward_of(const forest *f, long s, long k, const void *q, const void *key,
                       const void *value, void *out, float *lse) {
    long P = path_length(f, s), Pp = round_up(P, LANES), Wp = f->Wp, L = f->length[s];
    long before = P - L, groups = f->H / f->K;
    float *area = enter(0, (size_t)3 * Pp * Wp + (size_t)QUERIES * (Pp + 2 * Wp));
    float *kp = area, *kt = kp + Pp * Wp, *vp = kt + Pp * Wp, *scores = vp + Pp * Wp;
    float *qb = scores + QUERIES * Pp, *ob = qb + QUERIES * Wp;
    gather(f, s, key, f->K, k, kp, Pp);
    transpose(kp, kt, Pp, Wp);
    gather(f, s, value, f->K, k, vp, Pp);
    for (long g = 0; g < groups; g++) {
        long h = k * groups + g;
        for (long i = 0; i < L; i += QUERIES) {
            long count = L - i < QUERIES ? L - i : QUERIES;
            block_of(f, q, f->H, h, f->start[s] + i, count, f->scale, qb);
            for (long r = 0; r < count; r += ROWS) {
                long last = before + i + r + ROWS < P ? before + i + r + ROWS : P;
                long n = round_up(last, LANES);
                product(qb + r * Wp, Wp, 1, kt, Pp, scores + r * Pp, Pp, f->W, n, 0);
                float inverse[ROWS];
                for (long x = r; x < r + ROWS; x++) {
                    float *row = scores + x * Pp;
                    long at = before + i + x;
                    if (x >= count) {
                        memset(row, 0, (size_t)n * sizeof(float));
                        continue;
                    }
                    long low = first_seen(f, at);
                    float m = largest_between(row, low, at + 1);
                    vec sum;
                    probabilities(row, low, at + 1, n, m, &sum);
                    float total = sum_of(sum);
                    inverse[x - r] = 1.0f / total;
                    lse[(f->start[s] + i + x) * f->H + h] = m + logf(total);
                }
                product(scores + r * Pp, Pp, 1, vp, Wp, ob + r * Wp, Wp, n, Wp, 0);
                for (long x = r; x < r + ROWS && x < count; x++)
                    keep_row(ob + x * Wp, inverse[x - r], f->W, out,
                             ((f->start[s] + i + x) * f->H + h) * f->W, f->low);
            }
        }
    }
    leave(0, area);
}

static void backward_of(const forest *f, long s, long k, const void *q, const void *key,
                        const void *value, const void *out, const float *lse, const void *grad,
                        float *grad_q, float *grad_k, float *grad_v) {
    long P = path_length(f, s), Pp = round_up(P, LANES), Wp = f->Wp, L = f->length[s];
    long before = P - L, groups = f->H / f->K;
    float *area = enter(0, (size_t)5 * Pp * Wp + (size_t)QUERIES * (2 * Pp + 3 * Wp));
    float *kp = area, *kt = kp + Pp * Wp, *vt = kt + Pp * Wp, *dk = vt + Pp * Wp;
    float *dv = dk + Pp * Wp, *scores = dv + Pp * Wp, *ds = scores + QUERIES * Pp;
    float *qb = ds + QUERIES * Pp, *gb = qb + QUERIES * Wp, *ob = gb + QUERIES * Wp;
    gather(f, s, value, f->K, k, kp, Pp);
    transpose(kp, vt, Pp, Wp);
    gather(f, s, key, f->K, k, kp, Pp);
    transpose(kp, kt, Pp, Wp);
    memset(dk, 0, (size_t)2 * Pp * Wp * sizeof(float));
    for (long g = 0; g < groups; g++) {
        long h = k * groups + g;
        for (long i = 0; i < L; i += QUERIES) {
            long count = L - i < QUERIES ? L - i : QUERIES, blocks = round_up(count, ROWS);
            long last = before + i + count, most = round_up(last, LANES);
            block_of(f, q, f->H, h, f->start[s] + i, count, f->scale, qb);
            block_of(f, grad, f->H, h, f->start[s] + i, count, 1.0f, gb);
            for (long r = 0; r < blocks; r += ROWS) {
                product(qb + r * Wp, Wp, 1, kt, Pp, scores + r * Pp, Pp, f->W, most, 0);
                product(gb + r * Wp, Wp, 1, vt, Pp, ds + r * Pp, Pp, f->W, most, 0);
            }
            for (long x = 0; x < blocks; x++) {
                float *p = scores + x * Pp, *d = ds + x * Pp;
                if (x >= count) {
                    memset(p, 0, (size_t)most * sizeof(float));
                    memset(d, 0, (size_t)most * sizeof(float));
                    continue;
                }
                long row = (f->start[s] + i + x) * f->H + h, at = before + i + x;
                vec sum = all(0);
                long w = 0;
                for (; w + LANES <= f->W; w += LANES)
                    sum += load(gb + x * Wp + w) * get(out, row * f->W + w, f->low);
                if (w < f->W)
                    sum += load(gb + x * Wp + w) *
                           get_some(out, row * f->W + w, f->W - w, 0, f->low);
                float delta = sum_of(sum);
                probabilities(p, first_seen(f, at), at + 1, most, lse[row], &sum);
                for (long j = 0; j < most; j += LANES)
                    store(d + j, load(p + j) * (load(d + j) - delta));
            }
            for (long j = 0; j < most; j += ROWS) {
                product(scores + j, 1, Pp, gb, Wp, dv + j * Wp, Wp, count, Wp, 1);
                product(ds + j, 1, Pp, qb, Wp, dk + j * Wp, Wp, count, Wp, 1);
            }
            for (long r = 0; r < blocks; r += ROWS)
                product(ds + r * Pp, Pp, 1, kp, Wp, ob + r * Wp, Wp, most, Wp, 0);
            for (long x = 0; x < count; x++)
                keep_row(ob + x * Wp, f->scale, f->W, grad_q,
                         ((f->start[s] + i + x) * f->H + h) * f->W, 0);
        }
    }
    scatter(f, s, grad_k, f->K, k, dk);
    scatter(f, s, grad_v, f->K, k, dv);
    leave(0, area);
}

/* Rows of a cache, `bytes` long, become those of x, which lie `apart` bytes from each other. */
void store_rows(const void *x, long apart, void *cache, const int64_t *slot, long T, long bytes,
                int threads) {
    (void)threads; /* too little for more than one */
    for (long t = 0; t < T; t++)
        memcpy((char *)cache + slot[t] * bytes, (const char *)x + t * apart, (size_t)bytes);
}

#define AHEAD 16 /* positions between fetching and use */

/* The query of one token and head over `count` positions from number `at` of keys and values, which
 * lie `ld` numbers apart. p: room for the scores. */
INLINE void step_of(const void *q, const void *keys, const void *values, void *out, int low, long to,
                    long at, long ld, long count, long W, float scale, float *p) {
    float m = -INFINITY;
    for (long j = 0; j < count; j++) {
        vec a = all(0);
        long w = 0, one = at + j * ld;
        fetch(keys, one + AHEAD * ld, W, low);
        for (; w + LANES <= W; w += LANES) a += get(q, to + w, low) * get(keys, one + w, low);
        if (w < W)
            a += get_some(q, to + w, W - w, 0, low) * get_some(keys, one + w, W - w, 0, low);
        p[j] = sum_of(a) * scale;
        m = p[j] > m ? p[j] : m;
    }
    vec total = all(0);
    for (long j = 0; j < count; j += LANES) {
        long n = count - j < LANES ? count - j : LANES;
        vec e = exp_v((n == LANES ? load(p + j) : load_some(p + j, n, -INFINITY)) - m);
        store_some(p + j, e, n);
        total += e;
    }
    float inverse = 1.0f / sum_of(total);
    long w = 0;
    for (; w + 4 * LANES <= W; w += 4 * LANES) {
        vec a = all(0), b = all(0), c = all(0), d = all(0);
        for (long j = 0; j < count; j++) {
            long one = at + j * ld + w;
            fetch(values, one + AHEAD * ld, 4 * LANES, low);
            a += p[j] * get(values, one, low);
            b += p[j] * get(values, one + LANES, low);
            c += p[j] * get(values, one + 2 * LANES, low);
            d += p[j] * get(values, one + 3 * LANES, low);
        }
        put(out, to + w, a * inverse, low);
        put(out, to + w + LANES, b * inverse, low);
        put(out, to + w + 2 * LANES, c * inverse, low);
        put(out, to + w + 3 * LANES, d * inverse, low);
    }
    for (; w < W; w += LANES) {
        long n = W - w < LANES ? W - w : LANES;
        vec a = all(0);
        for (long j = 0; j < count; j++) {
            long one = at + j * ld + w;
            a += p[j] * (n == LANES ? get(values, one, low) : get_some(values, one, n, 0, low));
        }
        put_some(out, to + w, a * inverse, n, low);
    }
}

/* out (T, H, W): the query of each token over positions first..last of its row of keys and values
 * (R, M, K, W), as a cache keeps them. scores: room for (threads, M). */
void attention_step(const void *q, const void *keys, const void *values, void *out, int low,
                    const int64_t *row, const int64_t *first, const int64_t *last, float *scores,
                    long T, long H, long K, long W, long M, float scale, int threads) {
    long groups = H / K;
#pragma omp parallel for num_threads(threads) schedule(dynamic, 4)
    for (long task = 0; task < T * K; task++) {
        long t = task / K, k = task % K, count = last[t] - first[t] + 1;
        long at = ((row[t] * M + first[t]) * K + k) * W;
        float *p = scores + (long)omp_get_thread_num() * M;
        for (long h = k * groups; h < (k + 1) * groups; h++)
            if (low)
                step_of(q, keys, values, out, 1, (t * H + h) * W, at, K * W, count, W, scale, p);
            else
                step_of(q, keys, values, out, 0, (t * H + h) * W, at, K * W, count, W, scale, p);
    }
}

/* out (T, H, W) and lse (T, H) of causal attention along the paths of a forest of segments. */
void attention(const void *q, const void *k, const void *v, void *out, int low, float *lse, long H,
               long K, long W, float scale, long window, const int64_t *start,
               const int64_t *length, const int64_t *path, const int64_t *path_at,
               const int64_t *tree, const int64_t *tree_at, long trees, int threads) {
    forest f = {H, K, W, round_up(W, LANES), low, scale, window, start, length, path, path_at, tree,
                tree_at, trees};
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1)
    for (long task = 0; task < trees * K; task++)
        for (long i = tree_at[task / K]; i < tree_at[task / K + 1]; i++)
            forward_of(&f, tree[i], task % K, q, k, v, out, lse);
}

/* The gradients of q, k and v, all fp32; those of k and v are added to what is there. A tree's shared keys
 * get theirs from one thread, so the order of the sum is always the same. */
void attention_back(const void *q, const void *k, const void *v, const void *out, const void *grad,
                    int low, const float *lse, float *grad_q, float *grad_k, float *grad_v, long H, long K, long W, float scale, long window,
                    const int64_t *start, const int64_t *length, const int64_t *path,
                    const int64_t *path_at, const int64_t *tree, const int64_t *tree_at, long trees,
                    int threads) {
    forest f = {H, K, W, round_up(W, LANES), low, scale, window, start, length, path, path_at, tree,
                tree_at, trees};
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1)
    for (long task = 0; task < trees * K; task++) {
        long key_head = task % K, from = tree_at[task / K], to = tree_at[task / K + 1];
        /* gradients of keys and values add up over the queries of a tree */
        for (long i = from; i < to; i++)
            for (long t = start[tree[i]]; t < start[tree[i]] + length[tree[i]]; t++) {
                memset(grad_k + (t * K + key_head) * W, 0, W * sizeof(float));
                memset(grad_v + (t * K + key_head) * W, 0, W * sizeof(float));
            }
        for (long i = from; i < to; i++)
            backward_of(&f, tree[i], key_head, q, k, v, out, lse, grad, grad_q, grad_k, grad_v);
    }
}
