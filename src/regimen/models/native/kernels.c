/* Loops over fp32 numbers that read and write each of them once, for the parts of a model that are
 * no matrix products: norms, gated activations, rotary positions, the softmax of the vocabulary,
 * and attention of short segments. build.py compiles this file on the machine where it runs.
 *
 * The vectors are those of GCC and Clang, so that one text serves every processor. All arrays are
 * contiguous. Every sum has an order that depends on the number of threads alone. NaN goes through
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

/* ---- norms ---- */

/* y = x * rstd * weight, rstd = 1 / sqrt(mean(x^2) + eps); x, y (T, D), rstd (T). */
void rms_norm(const float *x, const float *weight, float eps, float *y, float *rstd, long T, long D,
              int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (long t = 0; t < T; t++) {
        const float *row = x + t * D;
        vec a = all(0), b = all(0);
        long d = 0;
        for (; d + 2 * LANES <= D; d += 2 * LANES) {
            vec u = load(row + d), v = load(row + d + LANES);
            a += u * u;
            b += v * v;
        }
        float squares = sum_of(a + b);
        for (; d < D; d++) squares += row[d] * row[d];
        float scale = 1.0f / sqrtf(squares / D + eps);
        rstd[t] = scale;
        for (d = 0; d + LANES <= D; d += LANES)
            store(y + t * D + d, load(row + d) * scale * load(weight + d));
        for (; d < D; d++) y[t * D + d] = row[d] * scale * weight[d];
    }
}

/* The gradients of x, and of the weight added to grad_weight unless that is NULL. */
void rms_norm_back(const float *grad, const float *x, const float *weight, const float *rstd,
                   float *grad_x, float *grad_weight, long T, long D, int threads) {
    float *parts = grad_weight ? calloc((size_t)threads * D, sizeof(float)) : NULL;
#pragma omp parallel num_threads(threads)
    {
        float *part = parts ? parts + (long)omp_get_thread_num() * D : NULL;
#pragma omp for schedule(static)
        for (long t = 0; t < T; t++) {
            const float *row = x + t * D, *g = grad + t * D;
            float scale = rstd[t], along = 0;
            vec sum = all(0);
            long d = 0;
            for (; d + LANES <= D; d += LANES) {
                vec gx = load(g + d) * load(row + d);
                sum += gx * load(weight + d);
                if (part) store(part + d, load(part + d) + gx * scale);
            }
            along = sum_of(sum);
            for (; d < D; d++) {
                along += g[d] * row[d] * weight[d];
                if (part) part[d] += g[d] * row[d] * scale;
            }
            along *= scale * scale / D;
            for (d = 0; d + LANES <= D; d += LANES)
                store(grad_x + t * D + d,
                      (load(g + d) * load(weight + d) - load(row + d) * along) * scale);
            for (; d < D; d++) grad_x[t * D + d] = (g[d] * weight[d] - row[d] * along) * scale;
        }
    }
    if (!parts) return;
    for (int thread = 0; thread < threads; thread++)
        for (long d = 0; d < D; d++) grad_weight[d] += parts[(long)thread * D + d];
    free(parts);
}

/* ---- gated activation ---- */

#define BLOCK 1024

/* out = silu(gate) * up; count numbers. */
void swiglu(const float *gate, const float *up, float *out, long count, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (long start = 0; start < count; start += BLOCK) {
        long end = start + BLOCK < count ? start + BLOCK : count, i = start;
        for (; i + LANES <= end; i += LANES) {
            vec g = load(gate + i);
            store(out + i, g * load(up + i) / (1.0f + exp_v(-g)));
        }
        if (i < end) {
            vec g = load_some(gate + i, end - i, 0), u = load_some(up + i, end - i, 0);
            store_some(out + i, g * u / (1.0f + exp_v(-g)), end - i);
        }
    }
}

INLINE void swiglu_back_one(vec g, vec u, vec grad, vec *out, vec *grad_gate, vec *grad_up) {
    vec s = 1.0f / (1.0f + exp_v(-g)), active = g * s;
    *out = active * u;
    *grad_up = grad * active;
    *grad_gate = grad * u * (s + active * (1.0f - s));
}

/* out again, and the gradients of both inputs from that of out; grad may be grad_gate. */
void swiglu_back(const float *gate, const float *up, const float *grad, float *out,
                 float *grad_gate, float *grad_up, long count, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (long start = 0; start < count; start += BLOCK) {
        long end = start + BLOCK < count ? start + BLOCK : count, i = start;
        vec o, a, b;
        for (; i + LANES <= end; i += LANES) {
            swiglu_back_one(load(gate + i), load(up + i), load(grad + i), &o, &a, &b);
            store(out + i, o);
            store(grad_gate + i, a);
            store(grad_up + i, b);
        }
        if (i < end) {
            long n = end - i;
            swiglu_back_one(load_some(gate + i, n, 0), load_some(up + i, n, 0),
                            load_some(grad + i, n, 0), &o, &a, &b);
            store_some(out + i, o, n);
            store_some(grad_gate + i, a, n);
            store_some(grad_up + i, b, n);
        }
    }
}

/* ---- rotary positions ---- */

/* x * cos + rotate_half(x) * sin in place, or the transposed matrix: x (T, H, W), angles (T, W). */
void rotate(float *x, const float *cosine, const float *sine, long T, long H, long W, int back,
            int threads) {
    long half = W / 2;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (long t = 0; t < T; t++) {
        const float *c = cosine + t * W, *s = sine + t * W;
        for (long h = 0; h < H; h++) {
            float *low = x + (t * H + h) * W, *high = low + half;
            const float *s_low = back ? s + half : s, *s_high = back ? s : s + half;
            float sign = back ? -1.0f : 1.0f;
            long i = 0;
            for (; i + LANES <= half; i += LANES) {
                vec a = load(low + i), b = load(high + i);
                store(low + i, a * load(c + i) - b * load(s_low + i) * sign);
                store(high + i, b * load(c + half + i) + a * load(s_high + i) * sign);
            }
            for (; i < half; i++) {
                float a = low[i], b = high[i];
                low[i] = a * c[i] - b * s_low[i] * sign;
                high[i] = b * c[half + i] + a * s_high[i] * sign;
            }
        }
    }
}

/* ---- the vocabulary ---- */

/* Largest logit and the log of the sum of exponentials of a row; with `out`, e^(x - largest). */
INLINE float row_softmax(const float *row, float *out, long V, float *largest, float *total) {
    vec m = all(-INFINITY);
    long i = 0;
    for (; i + LANES <= V; i += LANES) {
        vec x = load(row + i);
        m = pick(x > m, x, m);
    }
    if (i < V) {
        vec x = load_some(row + i, V - i, -INFINITY);
        m = pick(x > m, x, m);
    }
    *largest = largest_of(m);
    vec a = all(0), b = all(0);
    for (i = 0; i + 2 * LANES <= V; i += 2 * LANES) {
        vec u = exp_v(load(row + i) - *largest), v = exp_v(load(row + i + LANES) - *largest);
        a += u;
        b += v;
        if (out) {
            store(out + i, u);
            store(out + i + LANES, v);
        }
    }
    for (; i < V; i += LANES) {
        long n = V - i < LANES ? V - i : LANES;
        vec u = exp_v(load_some(row + i, n, -INFINITY) - *largest);
        a += u;
        if (out) store_some(out + i, u, n);
    }
    *total = sum_of(a + b);
    return *largest + logf(*total);
}

/* logp (T) of the targets; with `gradient`, logits (T, V) become weight * (softmax - onehot). */
void nll_rows(float *logits, const int64_t *target, const float *weight, float *logp, long T,
              long V, int gradient, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (long t = 0; t < T; t++) {
        float *row = logits + t * V, largest, total, picked = row[target[t]];
        float lse = row_softmax(row, gradient ? row : NULL, V, &largest, &total);
        logp[t] = picked - lse;
        if (!gradient) continue;
        float scale = weight[t] / total;
        long i = 0;
        for (; i + LANES <= V; i += LANES) store(row + i, load(row + i) * scale);
        for (; i < V; i++) row[i] *= scale;
        row[target[t]] -= weight[t];
    }
}

/* lse (T) of rows of logits, and the first of the largest entries (T). */
void row_tops(const float *logits, float *lse, int64_t *top, long T, long V, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (long t = 0; t < T; t++) {
        const float *row = logits + t * V;
        float largest, total;
        lse[t] = row_softmax(row, NULL, V, &largest, &total);
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

INLINE long round_up(long n, long to) { return (n + to - 1) / to * to; }

static long path_length(const forest *f, long s) {
    long n = 0;
    for (long i = f->path_at[s]; i < f->path_at[s + 1]; i++) n += f->length[f->path[i]];
    return n;
}

/* Rows of one head along a path, padded with zeros: (Pp, Wp) from x (T, heads, W). */
static void gather(const forest *f, long s, const float *x, long heads, long head, float *out,
                   long Pp) {
    long row = 0;
    for (long i = f->path_at[s]; i < f->path_at[s + 1]; i++) {
        long piece = f->path[i];
        for (long t = 0; t < f->length[piece]; t++, row++) {
            memcpy(out + row * f->Wp, x + ((f->start[piece] + t) * heads + head) * f->W,
                   f->W * sizeof(float));
            for (long w = f->W; w < f->Wp; w++) out[row * f->Wp + w] = 0;
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
static void block_of(const forest *f, const float *x, long heads, long head, long first, long count,
                     float factor, float *out) {
    memset(out, 0, (size_t)QUERIES * f->Wp * sizeof(float));
    for (long r = 0; r < count; r++) {
        const float *from = x + ((first + r) * heads + head) * f->W;
        for (long w = 0; w < f->W; w++) out[r * f->Wp + w] = from[w] * factor;
    }
}

static float *memory(size_t numbers) {
    return aligned_alloc(64, round_up((long)(numbers * sizeof(float)), 64));
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

static void forward_of(const forest *f, long s, long k, const float *q, const float *key,
                       const float *value, float *out, float *lse) {
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
                for (long x = r; x < r + ROWS && x < count; x++) {
                    float *to = out + ((f->start[s] + i + x) * f->H + h) * f->W;
                    for (long w = 0; w < f->W; w++) to[w] = ob[x * Wp + w] * inverse[x - r];
                }
            }
        }
    }
    free(area);
}

static void backward_of(const forest *f, long s, long k, const float *q, const float *key,
                        const float *value, const float *out, const float *lse, const float *grad,
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
                    sum += load(gb + x * Wp + w) * load(out + row * f->W + w);
                if (w < f->W)
                    sum += load(gb + x * Wp + w) * load_some(out + row * f->W + w, f->W - w, 0);
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
            for (long x = 0; x < count; x++) {
                float *to = grad_q + ((f->start[s] + i + x) * f->H + h) * f->W;
                for (long w = 0; w < f->W; w++) to[w] = ob[x * Wp + w] * f->scale;
            }
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
void attention(const float *q, const float *k, const float *v, float *out, float *lse, long H,
               long K, long W, float scale, long window, const int64_t *start,
               const int64_t *length, const int64_t *path, const int64_t *path_at,
               const int64_t *tree, const int64_t *tree_at, long trees, int threads) {
    forest f = {H, K, W, round_up(W, LANES), scale, window, start, length, path, path_at, tree,
                tree_at, trees};
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1)
    for (long task = 0; task < trees * K; task++)
        for (long i = tree_at[task / K]; i < tree_at[task / K + 1]; i++)
            forward_of(&f, tree[i], task % K, q, k, v, out, lse);
}

/* The gradients of q, k and v; those of k and v are added to what is there. A tree's shared keys
 * get theirs from one thread, so the order of the sum is always the same. */
void attention_back(const float *q, const float *k, const float *v, const float *out,
                    const float *lse, const float *grad, float *grad_q, float *grad_k,
                    float *grad_v, long H, long K, long W, float scale, long window,
                    const int64_t *start, const int64_t *length, const int64_t *path,
                    const int64_t *path_at, const int64_t *tree, const int64_t *tree_at, long trees,
                    int threads) {
    forest f = {H, K, W, round_up(W, LANES), scale, window, start, length, path, path_at, tree,
                tree_at, trees};
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1)
    for (long task = 0; task < trees * K; task++)
        for (long i = tree_at[task / K]; i < tree_at[task / K + 1]; i++)
            backward_of(&f, tree[i], task % K, q, k, v, out, lse, grad, grad_q, grad_k, grad_v);
}
