/* Loops over rows that read and write each number once: norms, gated activations, rotary positions,
 * and the softmax of the vocabulary.
 *
 * Letters: T tokens, D width, F inner width, H heads, W width of a head, V vocabulary.
 */
#include "vectors.h"

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
                          const float *weight, float scale, void *grad_x, float *part, long t,
                          long D) {
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
            x_low);
    if (left)
        put_some(grad_x, at + d,
                 (get_some(grad, at + d, left, 0, g_low) * load_some(weight + d, left, 0) -
                  get_some(x, at + d, left, 0, x_low) * along) *
                     scale,
                 left, x_low);
}

/* The gradients of x, in its type, and of the weight added to grad_weight unless that is NULL. */
void rms_norm_back(const void *grad, int g_low, const void *x, int x_low, const float *weight,
                   const float *rstd, void *grad_x, float *grad_weight, long T, long D,
                   int threads) {
    float *parts = grad_weight ? calloc((size_t)threads * D, sizeof(float)) : NULL;
#pragma omp parallel num_threads(threads)
    {
        float *part = parts ? parts + (long)omp_get_thread_num() * D : NULL;
#pragma omp for schedule(static)
        for (long t = 0; t < T; t++) {
            if (!g_low && !x_low)
                norm_row_back(grad, 0, x, 0, weight, rstd[t], grad_x, part, t, D);
            else if (g_low && !x_low)
                norm_row_back(grad, 1, x, 0, weight, rstd[t], grad_x, part, t, D);
            else
                norm_row_back(grad, g_low, x, x_low, weight, rstd[t], grad_x, part, t, D);
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

/* out again, and the gradients of both inputs from that of out; outputs may be inputs. */
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

/* y = x * cos + rotate_half(x) * sin, or the transposed matrix: x, y (T, H, W), perhaps the same,
 * tokens `ld` numbers apart; angles (T, W). */
void rotate(const void *x, int x_low, void *y, int y_low, const float *cosine, const float *sine,
            long ld, long T, long H, long W, int back, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (long t = 0; t < T; t++) {
        const float *c = cosine + t * W, *s = sine + t * W;
        for (long h = 0; h < H; h++) {
            long at = t * ld + h * W;
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

INLINE float softmax_part(void *logits, int low, long t, long V, float *largest, float *total) {
    long at = t * V, i = 0;
    vec m = all(*largest), sum = all(0);
    for (; i + LANES <= V; i += LANES) {
        vec x = get(logits, at + i, low);
        m = pick(x > m, x, m);
    }
    if (i < V) {
        vec x = get_some(logits, at + i, V - i, -INFINITY, low);
        m = pick(x > m, x, m);
    }
    float now = largest_of(m), factor = expf(*largest - now);
    for (i = 0; i + LANES <= V; i += LANES) {
        vec u = exp_v(get(logits, at + i, low) - now);
        sum += u;
        put(logits, at + i, u, low);
    }
    if (i < V) {
        vec u = exp_v(get_some(logits, at + i, V - i, -INFINITY, low) - now);
        sum += u;
        put_some(logits, at + i, u, V - i, low);
    }
    *largest = now;
    *total = *total * factor + sum_of(sum);
    return factor;
}

/* A slice of the vocabulary: logits (T, V) become e^(x - largest), with the largest (T) of this
 * slice and those before; `total` (T) is the sum so far, and `factor` (T) what earlier sums are to
 * be multiplied by. */
void softmax_slice(void *logits, int low, float *largest, float *total, float *factor, long T,
                   long V, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (long t = 0; t < T; t++)
        factor[t] = low ? softmax_part(logits, 1, t, V, largest + t, total + t)
                        : softmax_part(logits, 0, t, V, largest + t, total + t);
}

INLINE void nll_part(void *logits, int low, long t, long V, long target, float weight, float lse) {
    long at = t * V, i = 0;
    int inside = target >= 0 && target < V;
    float picked = inside ? get_one(logits, at + target, low) : 0;
    for (; i + LANES <= V; i += LANES)
        put(logits, at + i, exp_v(get(logits, at + i, low) - lse) * weight, low);
    if (i < V) {
        vec x = get_some(logits, at + i, V - i, -INFINITY, low);
        put_some(logits, at + i, exp_v(x - lse) * weight, V - i, low);
    }
    if (inside)
        put_some(logits, at + target, (exp_v(all(picked - lse)) - 1.0f) * weight, 1, low);
}

/* A slice of the vocabulary: logits (T, V) become weight * (softmax - onehot), given the lse (T) of
 * the whole; a target that is not in 0 .. V is in another slice. */
void nll_slice(void *logits, int low, const int64_t *target, const float *weight, const float *lse,
               long T, long V, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (long t = 0; t < T; t++) {
        if (low)
            nll_part(logits, 1, t, V, target[t], weight[t], lse[t]);
        else
            nll_part(logits, 0, t, V, target[t], weight[t], lse[t]);
    }
}
