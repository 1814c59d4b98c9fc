/* What all the loops are written in: vectors of GCC and Clang, as wide as the registers are, so that
 * one text serves every processor. Arrays are contiguous and hold fp32 or, where the argument `low`
 * that follows them says so, bf16; all arithmetic is fp32. Every sum has an order that depends on the
 * processor and the number of threads at most. NaN goes through to the results: the training loop
 * looks for it there.
 */
#ifndef VECTORS_H
#define VECTORS_H

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int omp_get_thread_num(void); /* omp.h is not always there */

/* Of wider vectors than registers GCC takes most operations apart, number by number. */
#if defined(__AVX512F__)
#define LANES 16
#elif defined(__AVX__)
#define LANES 8
#else
#define LANES 4
#endif
#define WIDTH (4 * LANES) /* bytes of a vector */
typedef float vec __attribute__((vector_size(WIDTH), aligned(4), may_alias));
typedef int32_t ivec __attribute__((vector_size(WIDTH), aligned(4), may_alias));
/* Of arrays that shall be kept in registers: GCC keeps what may alias in memory. */
typedef float reg __attribute__((vector_size(WIDTH)));
typedef int32_t regs __attribute__((vector_size(WIDTH)));
#define INLINE static inline __attribute__((always_inline))

INLINE vec load(const float *p) { return *(const vec *)p; }
INLINE void store(float *p, vec x) { *(vec *)p = x; }
INLINE vec all(float x) { return (vec){} + x; }
INLINE vec pick(ivec mask, vec a, vec b) { return (vec)((mask & (ivec)a) | (~mask & (ivec)b)); }

/* Halves of a vector added up until one number is left. */
INLINE float sum_of(vec x) {
    typedef float quarter __attribute__((vector_size(16)));
    quarter q[LANES / 4];
    memcpy(q, &x, sizeof q);
    _Pragma("GCC unroll 2") for (int n = LANES / 8; n > 0; n /= 2)
        _Pragma("GCC unroll 2") for (int i = 0; i < n; i++) q[i] += q[i + n];
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
typedef uint16_t hvec __attribute__((vector_size(WIDTH / 2), aligned(2), may_alias));
typedef uint32_t uvec __attribute__((vector_size(WIDTH), aligned(4), may_alias));
INLINE vec widen(hvec h) { return (vec)(__builtin_convertvector(h, uvec) << 16); }
INLINE hvec narrow(vec x) {
    uvec u = (uvec)x, rounded = (u + 0x7fff + ((u >> 16) & 1)) >> 16, nan = (u >> 16) | 0x40;
    return __builtin_convertvector((uvec)pick(x == x, (vec)rounded, (vec)nan), hvec);
}

/* Numbers i, i + 1 ... of an array of either kind: a vector, or the first `count` of one. */
INLINE vec get(const void *p, long i, int low) {
    return low ? widen(*(const hvec *)((const uint16_t *)p + i)) : load((const float *)p + i);
}
INLINE void put(void *p, long i, vec x, int low) {
    if (low)
        *(hvec *)((uint16_t *)p + i) = narrow(x);
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
    hvec h = narrow(x);
    memcpy((uint16_t *)p + i, &h, (size_t)count * sizeof(uint16_t));
}
INLINE float get_one(const void *p, long i, int low) {
    return low ? get_some(p, i, 1, 0, 1)[0] : ((const float *)p)[i];
}

/* Numbers that are read later; nothing happens where there are none. */
INLINE void fetch(const void *x, long i, long count, int low) {
    long size = low ? 2 : 4;
    for (long byte = 0; byte < count * size; byte += 64)
        __builtin_prefetch((const char *)x + i * size + byte);
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

/* Room of a thread and a source file. What is small enough stays from call to call: made and freed
 * in each, it would cost page faults, or leave gaps in the heap, where small objects settle. */
#define ROOMS 3
#define STAYS ((size_t)(4 << 20))
__attribute__((unused)) static _Thread_local float *rooms[ROOMS];
__attribute__((unused)) static _Thread_local size_t room_sizes[ROOMS];
INLINE float *enter(int which, size_t numbers) {
    if (numbers * sizeof(float) > STAYS) return memory(numbers);
    if (room_sizes[which] < numbers) {
        free(rooms[which]);
        rooms[which] = memory(numbers);
        room_sizes[which] = numbers;
    }
    return rooms[which];
}
INLINE void leave(int which, float *room) {
    if (room != rooms[which]) free(room);
}

/* Pairs of rows swap what is s columns apart, for s = 1, 2, 4, 8. */
#if LANES == 16
#define PLACES(F, s)                                                                               \
    F(0, s), F(1, s), F(2, s), F(3, s), F(4, s), F(5, s), F(6, s), F(7, s), F(8, s), F(9, s),      \
        F(10, s), F(11, s), F(12, s), F(13, s), F(14, s), F(15, s)
#elif LANES == 8
#define PLACES(F, s) F(0, s), F(1, s), F(2, s), F(3, s), F(4, s), F(5, s), F(6, s), F(7, s)
#else
#define PLACES(F, s) F(0, s), F(1, s), F(2, s), F(3, s)
#endif
#define LOW(k, s) ((k) & (s) ? LANES + (k) - (s) : (k))
#define HIGH(k, s) ((k) & (s) ? LANES + (k) : (k) + (s))
#ifdef __clang__
#define MIXED(a, b, F, s) __builtin_shufflevector(a, b, PLACES(F, s))
#else
#define MIXED(a, b, F, s) __builtin_shuffle(a, b, (regs){PLACES(F, s)})
#endif
#define SWAP(r, s)                                                                                 \
    _Pragma("GCC unroll 16") for (int i = 0; i < LANES; i++) {                                     \
        if (i & s) continue;                                                                       \
        reg a = r[i], b = r[i + s];                                                                \
        r[i] = MIXED(a, b, LOW, s);                                                                \
        r[i + s] = MIXED(a, b, HIGH, s);                                                           \
    }
/* LANES rows of LANES numbers. */
INLINE void transpose_square(reg *r) {
    SWAP(r, 1)
    SWAP(r, 2)
#if LANES >= 8
    SWAP(r, 4)
#endif
#if LANES >= 16
    SWAP(r, 8)
#endif
}

#endif
