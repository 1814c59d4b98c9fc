/* Loops that read and write each number once, for the parts of a model that are no matrix products:
 * norms, gated activations, rotary positions, the softmax of the vocabulary, and attention of short
 * segments. build.py compiles this file on the machine where it runs.
 *
 * The vectors are those of GCC and Clang, so that one text serves every processor. Arrays are
 * contiguous and hold fp32 or, where the argument `low` that follows them says so, bf16; all
 * arithmetic is fp32. Every sum has an order that depends on the number of threads alone. NaN goes through
 * to the results: the training loop looks for it there.
 *
 * Letters: T tokens, D width, F inner width, H query heads, K key heads, W width of a head,
 * V vocabulary, S segments, P positions of a path (a segment and its ancestors).
 */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int omp_get_thread_num(void); /* omp.h is not always there */

#define LANES 16
typedef float vec __attribute__((vector_size(64), aligned(4), may_alias));
typedef int32_t ivec __attribute__((vector_size(64), aligned(4), may_alias));
#define INLINE static inline __attribute__((always_inline))

INLINE vec load(const float *p) { return *(const vec *)p; }
INLINE void store(float *p, vec x) { *(vec *)p = x; }
INLINE vec all(float x) { return (vec){} + x; }
INLINE vec pick(ivec mask, vec a, vec b) { return (vec)((mask & (ivec)a) | (~mask & (ivec)b)); }

/* Halves of a vector added up until one number is left. */
INLINE float sum_of(vec x) {
    typedef float half __attribute__((vector_size(32)));
    typedef float quarter __attribute__((vector_size(16)));
    half h[2];
    memcpy(h, &x, sizeof h);
    h[0] += h[1];
    quarter q[2];
    memcpy(q, h, sizeof q);
    q[0] += q[1];
    return (q[0][0] + q[0][2]) + (q[0][1] + q[0][3]);
}

INLINE float largest_of(vec x) {
    float s = x[0];
    for (int i = 1; i < LANES; i++) s = x[i] > s ? x[i] : s;
    return s;
}

/* The first `count` numbers of a vector; the others are `rest`. */
INLINE vec load_some(const float *p, long count, float rest) {
    float padded[LANES];
    for (int i = 0; i < LANES; i++) padded[i] = i < count ? p[i] : rest;
    return load(padded);
}

INLINE void store_some(float *p, vec x, long count) {
    for (int i = 0; i < count; i++) p[i] = x[i];
}

/* bf16 is the upper half of an fp32 number; to the nearest, ties to even; NaN stays NaN. */
typedef uint16_t half16 __attribute__((vector_size(32), aligned(2), may_alias));
typedef uint32_t uvec __attribute__((vector_size(64), aligned(4), may_alias));
INLINE vec widen(half16 h) { return (vec)(__builtin_convertvector(h, uvec) << 16); }
INLINE half16 narrow(vec x) {
    uvec u = (uvec)x, rounded = (u + 0x7fff + ((u >> 16) & 1)) >> 16, nan = (u >> 16) | 0x40;
    return __builtin_convertvector((uvec)pick(x == x, (vec)rounded, (vec)nan), half16);
}

/* Numbers i, i + 1 ... of an array of either kind: a vector, or the first `count` of one. */
INLINE vec get(const void *p, long i, int low) {
    return low ? widen(*(const half16 *)((const uint16_t *)p + i)) : load((const float *)p + i);
}
INLINE void put(void *p, long i, vec x, int low) {
    if (low)
        *(half16 *)((uint16_t *)p + i) = narrow(x);
    else
        store((float *)p + i, x);
}
INLINE vec get_some(const void *p, long i, long count, float rest, int low) {
    if (!low) return load_some((const float *)p + i, count, rest);
    uint16_t padded[LANES] = {0};
    memcpy(padded, (const uint16_t *)p + i, (size_t)count * sizeof(uint16_t));
    vec x = get(padded, 0, 1);
    for (long k = count; k < LANES; k++) x[k] = rest;
    return x;
}
INLINE void put_some(void *p, long i, vec x, long count, int low) {
    if (!low) {
        store_some((float *)p + i, x, count);
        return;
    }
    half16 h = narrow(x);
    memcpy((uint16_t *)p + i, &h, (size_t)count * sizeof(uint16_t));
}
INLINE float get_one(const void *p, long i, int low) {
    return low ? get_some(p, i, 1, 0, 1)[0] : ((const float *)p)[i];
}

/* e^x by reduction to |r| <= ln(2)/2 and the series to r^7; 2e-7 relative, 0 below e^-87. */
INLINE vec exp_v(vec x) {
    x = pick(x > all(88.0f), all(88.0f), x);
    ivec small = x < all(-87.0f);
    vec y = pick(small, all(-87.0f), x);
    vec half = pick(y < all(0.0f), all(-0.5f), all(0.5f));
    ivec n = __builtin_convertvector(y * 1.44269504f + half, ivec);
    vec k = __builtin_convertvector(n, vec);
    vec r = y - k * 0.693359375f + k * 2.12194440e-4f;
    vec p = all(1.0f / 5040);
    p = p * r + 1.0f / 720;
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    return pick(small, all(0.0f), p * (vec)((n + 127) << 23));
}

INLINE long round_up(long n, long to) { return (n + to - 1) / to * to; }

static float *memory(size_t numbers) {
    return aligned_alloc(64, round_up((long)(numbers * sizeof(float)), 64));
}

/* ---- norms ---- */

INLINE void norm_row(const void *x, int x_low, const float *weight, float eps, void *y, int y_low,
                     float *rstd, long t, long D) {
    vec a = all(0);
    long d = 0, at = t * D, left = D % LANES;
    for (; d + LANES <= D; d += LANES) {
        vec u = get(x, at + d, x_low);
        a += u * u;
    }
    if (left) {
        vec u = get_some(x, at + d, left, 0, x_low);
        a += u * u;
    }
    float scale = 1.0f / sqrtf(sum_of(a) / D + eps);
    rstd[t] = scale;
    for (d = 0; d + LANES <= D; d += LANES)
        put(y, at + d, get(x, at + d, x_low) * scale * load(weight + d), y_low);
    if (left)
        put_some(y, at + d,
                 get_some(x, at + d, left, 0, x_low) * scale * load_some(weight + d, left, 0), left,
                 y_low);
}

/* y = x * rstd * weight, rstd = 1 / sqrt(mean(x^2) + eps); x, y (T, D), rstd (T). */
void rms_norm(const void *x, int x_low, const float *weight, float eps, void *y, int y_low,
              float *rstd, long T, long D, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (long t = 0; t < T; t++) {
        if (x_low)
            norm_row(x, 1, weight, eps, y, y_low, rstd, t, D);
        else if (y_low)
            norm_row(x, 0, weight, eps, y, 1, rstd, t, D);
        else
            norm_row(x, 0, weight, eps, y, 0, rstd, t, D);
    }
}

INLINE void norm_row_back(const void *grad, int g_low, const void *x, int x_low,
                          const float *weight, float scale, void *grad_x, int gx_low, float *part,
                          long t, long D) {
    vec sum = all(0);
    long d = 0, at = t * D, left = D % LANES;
    for (; d + LANES <= D; d += LANES) {
        vec gx = get(grad, at + d, g_low) * get(x, at + d, x_low);
        sum += gx * load(weight + d);
        if (part) store(part + d, load(part + d) + gx * scale);
    }
    if (left) {
        vec gx = get_some(grad, at + d, left, 0, g_low) * get_some(x, at + d, left, 0, x_low);
        sum += gx * load_some(weight + d, left, 0);
        if (part) store_some(part + d, load_some(part + d, left, 0) + gx * scale, left);
    }
    float along = sum_of(sum) * scale * scale / D;
    for (d = 0; d + LANES <= D; d += LANES)
        put(grad_x, at + d,
            (get(grad, at + d, g_low) * load(weight + d) - get(x, at + d, x_low) * along) * scale,
            gx_low);
    if (left)
        put_some(grad_x, at + d,
                 (get_some(grad, at + d, left, 0, g_low) * load_some(weight + d, left, 0) -
                  get_some(x, at + d, left, 0, x_low) * along) *
                     scale,
                 left, gx_low);
}

/* The gradients of x, and of the weight added to grad_weight unless that is NULL. */
void rms_norm_back(const void *grad, int g_low, const void *x, int x_low, const float *weight,
                   const float *rstd, void *grad_x, int gx_low, float *grad_weight, long T, long D,
                   int threads) {
    float *parts = grad_weight ? calloc((size_t)threads * D, sizeof(float)) : NULL;
#pragma omp parallel num_threads(threads)
    {
        float *part = parts ? parts + (long)omp_get_thread_num() * D : NULL;
#pragma omp for schedule(static)
        for (long t = 0; t < T; t++) {
            if (!g_low && !x_low && !gx_low)
                norm_row_back(grad, 0, x, 0, weight, rstd[t], grad_x, 0, part, t, D);
            else if (g_low && !x_low && !gx_low)
                norm_row_back(grad, 1, x, 0, weight, rstd[t], grad_x, 0, part, t, D);
            else
                norm_row_back(grad, g_low, x, x_low, weight, rstd[t], grad_x, gx_low, part, t, D);
        }
    }
    if (!parts) return;
    for (int thread = 0; thread < threads; thread++)
        for (long d = 0; d < D; d++) grad_weight[d] += parts[(long)thread * D + d];
    free(parts);
}

/* ---- sums ---- */

/* total = scale * part, or with `add` that much more; count numbers, of fp32 and of bf16. */
void accumulate(float *total, const void *part, float scale, long count, int add, int threads) {
    long pieces = (count + LANES - 1) / LANES;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (long piece = 0; piece < pieces; piece++) {
        long i = piece * LANES, n = count - i;
        if (n >= LANES) {
            vec before = add ? load(total + i) : all(0);
            store(total + i, before + get(part, i, 1) * scale);
        } else {
            vec before = add ? load_some(total + i, n, 0) : all(0);
            store_some(total + i, before + get_some(part, i, n, 0, 1) * scale, n);
        }
    }
}

/* ---- gated activation ---- */

#define BLOCK 1024

INLINE void swiglu_block(const void *gate, const void *up, void *out, long i, long end, int low) {
    for (; i + LANES <= end; i += LANES) {
        vec g = get(gate, i, low);
        put(out, i, g * get(up, i, low) / (1.0f + exp_v(-g)), low);
    }
    if (i < end) {
        vec g = get_some(gate, i, end - i, 0, low), u = get_some(up, i, end - i, 0, low);
        put_some(out, i, g * u / (1.0f + exp_v(-g)), end - i, low);
    }
}

/* out = silu(gate) * up; count numbers. */
void swiglu(const void *gate, const void *up, void *out, int low, long count, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (long start = 0; start < count; start += BLOCK) {
        long end = start + BLOCK < count ? start + BLOCK : count;
        if (low)
            swiglu_block(gate, up, out, start, end, 1);
        else
            swiglu_block(gate, up, out, start, end, 0);
    }
}

INLINE void swiglu_back_one(vec g, vec u, vec grad, vec *out, vec *grad_gate, vec *grad_up) {
    vec s = 1.0f / (1.0f + exp_v(-g)), active = g * s;
    *out = active * u;
    *grad_up = grad * active;
    *grad_gate = grad * u * (s + active * (1.0f - s));
}

INLINE void swiglu_back_block(const void *gate, const void *up, const void *grad, void *out,
                              void *grad_gate, void *grad_up, long i, long end, int low) {
    vec o, a, b;
    for (; i + LANES <= end; i += LANES) {
        swiglu_back_one(get(gate, i, low), get(up, i, low), get(grad, i, low), &o, &a, &b);
        put(out, i, o, low);
        put(grad_gate, i, a, low);
        put(grad_up, i, b, low);
    }
    if (i < end) {
        long n = end - i;
        swiglu_back_one(get_some(gate, i, n, 0, low), get_some(up, i, n, 0, low),
                        get_some(grad, i, n, 0, low), &o, &a, &b);
        put_some(out, i, o, n, low);
        put_some(grad_gate, i, a, n, low);
        put_some(grad_up, i, b, n, low);
    }
}

/* out again, and the gradients of both inputs from that of out; grad may be grad_gate. */
void swiglu_back(const void *gate, const void *up, const void *grad, void *out, void *grad_gate,
                 void *grad_up, int low, long count, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (long start = 0; start < count; start += BLOCK) {
        long end = start + BLOCK < count ? start + BLOCK : count;
        if (low)
            swiglu_back_block(gate, up, grad, out, grad_gate, grad_up, start, end, 1);
        else
            swiglu_back_block(gate, up, grad, out, grad_gate, grad_up, start, end, 0);
    }
}

/* ---- rotary positions ---- */

INLINE void rotate_head(const void *x, int x_low, void *y, int y_low, long at, const float *c,
                        const float *s, long half, int back) {
    const float *s_low = back ? s + half : s, *s_high = back ? s : s + half;
    float sign = back ? -1.0f : 1.0f;
    for (long i = 0; i < half; i += LANES) {
        long n = half - i < LANES ? half - i : LANES, one = at + i, two = at + half + i;
        if (n == LANES) {
            vec a = get(x, one, x_low), b = get(x, two, x_low);
            put(y, one, a * load(c + i) - b * load(s_low + i) * sign, y_low);
            put(y, two, b * load(c + half + i) + a * load(s_high + i) * sign, y_low);
        } else {
            vec a = get_some(x, one, n, 0, x_low), b = get_some(x, two, n, 0, x_low);
            vec sl = load_some(s_low + i, n, 0), sh = load_some(s_high + i, n, 0);
            put_some(y, one, a * load_some(c + i, n, 0) - b * sl * sign, n, y_low);
            put_some(y, two, b * load_some(c + half + i, n, 0) + a * sh * sign, n, y_low);
        }
    }
}

/* y = x * cos + rotate_half(x) * sin, or the transposed matrix: x, y (T, H, W), perhaps the same;
 * angles (T, W). */
void rotate(const void *x, int x_low, void *y, int y_low, const float *cosine, const float *sine,
            long T, long H, long W, int back, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (long t = 0; t < T; t++) {
        const float *c = cosine + t * W, *s = sine + t * W;
        for (long h = 0; h < H; h++) {
            long at = (t * H + h) * W;
            if (x_low)
                rotate_head(x, 1, y, y_low, at, c, s, W / 2, back);
            else
                rotate_head(x, 0, y, y_low, at, c, s, W / 2, back);
        }
    }
}

/* ---- the vocabulary ---- */

/* Largest logit and the log of the sum of exponentials of row `t`; with `out`, e^(x - largest). */
INLINE float row_softmax(const void *rows, int low, long t, float *out, long V, float *largest,
                         float *total) {
    vec m = all(-INFINITY);
    long i = 0, at = t * V;
    for (; i + LANES <= V; i += LANES) {
        vec x = get(rows, at + i, low);
        m = pick(x > m, x, m);
    }
    if (i < V) {
        vec x = get_some(rows, at + i, V - i, -INFINITY, low);
        m = pick(x > m, x, m);
    }
    *largest = largest_of(m);
    vec a = all(0), b = all(0);
    for (i = 0; i + 2 * LANES <= V; i += 2 * LANES) {
        vec u = exp_v(get(rows, at + i, low) - *largest);
        vec v = exp_v(get(rows, at + i + LANES, low) - *largest);
        a += u;
        b += v;
        if (out) {
            store(out + i, u);
            store(out + i + LANES, v);
        }
    }
    for (; i < V; i += LANES) {
        long n = V - i < LANES ? V - i : LANES;
        vec u = exp_v(get_some(rows, at + i, n, -INFINITY, low) - *largest);
        a += u;
        if (out) store_some(out + i, u, n);
    }
    *total = sum_of(a + b);
    return *largest + logf(*total);
}

/* Row t becomes weight * (softmax - onehot) if `room` for the exponentials is given. */
INLINE float nll_row(void *rows, int low, long t, long V, long target, float weight, float *room) {
    float largest, total, picked = get_one(rows, t * V + target, low);
    float lse = row_softmax(rows, low, t, room, V, &largest, &total);
    if (!room) return picked - lse;
    float scale = weight / total;
    room[target] -= total;
    long i = 0;
    for (; i + LANES <= V; i += LANES) put(rows, t * V + i, load(room + i) * scale, low);
    if (i < V) put_some(rows, t * V + i, load_some(room + i, V - i, 0) * scale, V - i, low);
    return picked - lse;
}

/* logp (T) of the targets; with `gradient`, logits (T, V) become weight * (softmax - onehot). */
void nll_rows(void *logits, int low, const int64_t *target, const float *weight, float *logp,
              long T, long V, int gradient, int threads) {
#pragma omp parallel num_threads(threads)
    {
        /* exponentials of a row stay in the cache; fp32 rows are their own room */
        float *own = gradient && low ? memory((size_t)V) : NULL;
#pragma omp for schedule(static)
        for (long t = 0; t < T; t++)
            if (low)
                logp[t] = nll_row(logits, 1, t, V, target[t], weight[t], own);
            else
                logp[t] = nll_row(logits, 0, t, V, target[t], weight[t],
                                  gradient ? (float *)logits + t * V : NULL);
        free(own);
    }
}

/* lse (T) of rows of logits, and the first of the largest entries (T). */
void row_tops(const float *logits, float *lse, int64_t *top, long T, long V, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (long t = 0; t < T; t++) {
        const float *row = logits + t * V;
        float largest, total;
        lse[t] = row_softmax(logits, 0, t, NULL, V, &largest, &total);
        long i = 0;
        while (i < V - 1 && !(row[i] == largest)) i++;
        top[t] = i;
    }
}

/* ---- attention ---- */

#define ROWS 8    /* of a product in registers */
#define QUERIES 32 /* of a block */

/* C (rows, N) = or += A (ROWS, depth) B (depth, N); A is read at A[r * ar + k * ak]; N % 16 = 0. */
#define PRODUCT(NAME, COLUMNS)                                                                     \
    INLINE void NAME(const float *A, long ar, long ak, const float *B, long ldb, float *C,         \
                     long ldc, long depth, int add) {                                              \
        vec acc[ROWS][COLUMNS];                                                                    \
        _Pragma("GCC unroll 8") for (int r = 0; r < ROWS; r++)                                     \
            _Pragma("GCC unroll 4") for (int c = 0; c < COLUMNS; c++)                              \
                acc[r][c] = add ? load(C + r * ldc + c * LANES) : all(0);                          \
        for (long k = 0; k < depth; k++) {                                                         \
            vec b[COLUMNS];                                                                        \
            _Pragma("GCC unroll 4") for (int c = 0; c < COLUMNS; c++)                              \
                b[c] = load(B + k * ldb + c * LANES);                                              \
            _Pragma("GCC unroll 8") for (int r = 0; r < ROWS; r++) {                               \
                float a = A[r * ar + k * ak];                                                      \
                _Pragma("GCC unroll 4") for (int c = 0; c < COLUMNS; c++) acc[r][c] += a * b[c];   \
            }                                                                                      \
        }                                                                                          \
        _Pragma("GCC unroll 8") for (int r = 0; r < ROWS; r++)                                     \
            _Pragma("GCC unroll 4") for (int c = 0; c < COLUMNS; c++)                              \
                store(C + r * ldc + c * LANES, acc[r][c]);                                         \
    }
PRODUCT(product_1, 1)
PRODUCT(product_2, 2)

static void product(const float *A, long ar, long ak, const float *B, long ldb, float *C, long ldc,
                    long depth, long N, int add) {
    long n = 0;
    for (; n + 2 * LANES <= N; n += 2 * LANES)
        product_2(A, ar, ak, B + n, ldb, C + n, ldc, depth, add);
    if (n < N) product_1(A, ar, ak, B + n, ldb, C + n, ldc, depth, add);
}

INLINE void transpose_16(vec *r) {
#pragma GCC unroll 4
    for (int s = 1; s < LANES; s *= 2) {
        ivec low, high;
        for (int k = 0; k < LANES; k++) {
            low[k] = k & s ? LANES + k - s : k;
            high[k] = k & s ? LANES + k : k + s;
        }
#pragma GCC unroll 16
        for (int i = 0; i < LANES; i++) {
            if (i & s) continue;
            vec a = r[i], b = r[i + s];
#ifdef __clang__
            for (int k = 0; k < LANES; k++) {
                r[i][k] = low[k] < LANES ? a[low[k]] : b[low[k] - LANES];
                r[i + s][k] = high[k] < LANES ? a[high[k]] : b[high[k] - LANES];
            }
#else
            r[i] = __builtin_shuffle(a, b, low);
            r[i + s] = __builtin_shuffle(a, b, high);
#endif
        }
    }
}

/* out (W, P) = in (P, W) transposed; both multiples of 16. */
static void transpose(const float *in, float *out, long P, long W) {
    for (long p = 0; p < P; p += LANES)
        for (long w = 0; w < W; w += LANES) {
            vec r[LANES];
            for (int i = 0; i < LANES; i++) r[i] = load(in + (p + i) * W + w);
            transpose_16(r);
            for (int i = 0; i < LANES; i++) store(out + (w + i) * P + p, r[i]);
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
    float *area = memory((size_t)3 * Pp * Wp + (size_t)QUERIES * (Pp + 2 * Wp));
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
    free(area);
}

static void backward_of(const forest *f, long s, long k, const void *q, const void *key,
                        const void *value, const void *out, const float *lse, const void *grad,
                        float *grad_q, float *grad_k, float *grad_v) {
    long P = path_length(f, s), Pp = round_up(P, LANES), Wp = f->Wp, L = f->length[s];
    long before = P - L, groups = f->H / f->K;
    float *area = memory((size_t)5 * Pp * Wp + (size_t)QUERIES * (2 * Pp + 3 * Wp));
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
    free(area);
}

/* out (T, H, W): the query of each token over positions first..last of its row of keys and values
 * (R, M, K, W), as a cache keeps them. scores: room for (threads, M). */
void attention_step(const float *q, const float *keys, const float *values, float *out,
                    const int64_t *row, const int64_t *first, const int64_t *last, float *scores,
                    long T, long H, long K, long W, long M, float scale, int threads) {
    long groups = H / K;
#pragma omp parallel for num_threads(threads) schedule(dynamic, 4)
    for (long task = 0; task < T * K; task++) {
        long t = task / K, k = task % K, count = last[t] - first[t] + 1;
        float *p = scores + (long)omp_get_thread_num() * M;
        const float *key = keys + ((row[t] * M + first[t]) * K + k) * W;
        const float *value = values + ((row[t] * M + first[t]) * K + k) * W;
        for (long h = k * groups; h < (k + 1) * groups; h++) {
            const float *query = q + (t * H + h) * W;
            float *to = out + (t * H + h) * W;
            float m = -INFINITY;
            for (long j = 0; j < count; j++) {
                const float *one = key + j * K * W;
                vec a = all(0);
                long w = 0;
                for (; w + LANES <= W; w += LANES) a += load(query + w) * load(one + w);
                float s = sum_of(a);
                for (; w < W; w++) s += query[w] * one[w];
                p[j] = s * scale;
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
                    const float *one = value + j * K * W + w;
                    a += p[j] * load(one);
                    b += p[j] * load(one + LANES);
                    c += p[j] * load(one + 2 * LANES);
                    d += p[j] * load(one + 3 * LANES);
                }
                store(to + w, a * inverse);
                store(to + w + LANES, b * inverse);
                store(to + w + 2 * LANES, c * inverse);
                store(to + w + 3 * LANES, d * inverse);
            }
            for (; w < W; w += LANES) {
                long n = W - w < LANES ? W - w : LANES;
                vec a = all(0);
                for (long j = 0; j < count; j++) {
                    const float *one = value + j * K * W + w;
                    a += p[j] * (n == LANES ? load(one) : load_some(one, n, 0));
                }
                store_some(to + w, a * inverse, n);
            }
        }
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
    for (long task = 0; task < trees * K; task++)
        for (long i = tree_at[task / K]; i < tree_at[task / K + 1]; i++)
            backward_of(&f, tree[i], task % K, q, k, v, out, lse, grad, grad_q, grad_k, grad_v);
}
