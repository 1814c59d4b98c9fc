/* Dropout: masks as torch draws them, and inputs thinned by them.
 *
 * torch's CPU generator is a Mersenne Twister (Matsumoto and Nishimura 1998) that is asked for one
 * number at a time. Here a block of its 624 words is made and read at once; the numbers, their order
 * and the state that is left are the same.
 */
#include "vectors.h"

#define WORDS 624
#define AHEAD 397

/* How torch hands out the state of its generator; what follows is for normal numbers. */
typedef struct {
    uint64_t seed;
    int32_t left, seeded;
    uint64_t next, state[WORDS];
} generator;

INLINE uint32_t twist(uint32_t u, uint32_t v) {
    return (((u & 0x80000000u) | (v & 0x7fffffffu)) >> 1) ^ (-(v & 1u) & 0x9908b0dfu);
}

static void next_words(uint32_t *s) {
    for (int i = 0; i < WORDS - AHEAD; i++) s[i] = s[i + AHEAD] ^ twist(s[i], s[i + 1]);
    for (int i = WORDS - AHEAD; i < WORDS - 1; i++)
        s[i] = s[i - (WORDS - AHEAD)] ^ twist(s[i], s[i + 1]);
    s[WORDS - 1] = s[AHEAD - 1] ^ twist(s[WORDS - 1], s[0]);
}

INLINE uint32_t temper(uint32_t y) {
    y ^= y >> 11;
    y ^= (y << 7) & 0x9d2c5680u;
    y ^= (y << 15) & 0xefc60000u;
    return y ^ (y >> 18);
}

/* kept (count) becomes 1 with probability `share`, else 0: u < share for u of 53 random bits, the
 * upper ones from the first of two words. The generator goes on by as many words. */
void bernoulli(void *from, double share, uint8_t *kept, long count, int threads) {
    (void)threads; /* one word follows from another */
    generator *g = from;
    uint32_t state[WORDS], words[WORDS + 2];
    for (int i = 0; i < WORDS; i++) state[i] = (uint32_t)g->state[i];
    long next = (long)g->next, ready = g->left - 1, have = 0;
    uint64_t bound = (uint64_t)ceil(share * 9007199254740992.0);
    for (long at = 0; at < count;) {
        if (!ready) {
            next_words(state);
            next = 0;
            ready = WORDS;
        }
        long wanted = 2 * (count - at) - have, taken = ready < wanted ? ready : wanted;
        for (long i = 0; i < taken; i++) words[have + i] = temper(state[next + i]);
        next += taken;
        ready -= taken;
        have += taken;
        long pairs = have / 2;
        for (long i = 0; i < pairs; i++) {
            uint64_t drawn = ((uint64_t)(words[2 * i] & 0x1fffffu) << 32) | words[2 * i + 1];
            kept[at + i] = drawn < bound;
        }
        at += pairs;
        words[0] = words[have - (have > 0)];
        have &= 1;
    }
    for (int i = 0; i < WORDS; i++) g->state[i] = state[i];
    g->next = (uint64_t)next;
    g->left = (int32_t)(ready + 1);
}

typedef uint8_t bvec __attribute__((vector_size(LANES), aligned(1), may_alias));

INLINE vec kept_of(const uint8_t *kept, long count) {
    uint8_t some[LANES] = {0};
    memcpy(some, kept, (size_t)count);
    return __builtin_convertvector(*(const bvec *)some, vec);
}

INLINE void thin_block(const void *x, int low, const uint8_t *kept, float scale, void *out, int add,
                       long i, long end) {
    for (; i + LANES <= end; i += LANES) {
        vec y = get(x, i, low) * (kept_of(kept + i, LANES) * scale);
        if (add) y += get(out, i, low);
        put(out, i, y, low);
    }
    if (i < end) {
        long n = end - i;
        vec y = get_some(x, i, n, 0, low) * (kept_of(kept + i, n) * scale);
        if (add) y += get_some(out, i, n, 0, low);
        put_some(out, i, y, n, low);
    }
}

#define BLOCK 1024

/* out = x * kept * scale, or with `add` that much more; count numbers. */
void thin(const void *x, int low, const uint8_t *kept, float scale, void *out, int add, long count,
          int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (long start = 0; start < count; start += BLOCK) {
        long end = start + BLOCK < count ? start + BLOCK : count;
        if (low)
            thin_block(x, 1, kept, scale, out, add, start, end);
        else
            thin_block(x, 0, kept, scale, out, add, start, end);
    }
}
