// Vectors of floats: 16 with AVX-512, 8 with AVX2 and FMA. Another machine takes the blocked plan.
#pragma once

#include <immintrin.h>

using Index = long;

#if defined(__AVX512F__)
using Vector = __m512;
constexpr Index LANES = 16;
// The accumulators of a tile, its sources and one weight have to stay in the 32 registers.
constexpr int TILE_OUTPUTS = 8, TILE_VECTORS = 3, TILE_SOURCES = 12;
static inline Vector zero() { return _mm512_setzero_ps(); }
static inline Vector all(float value) { return _mm512_set1_ps(value); }
static inline Vector load(const float* from) { return _mm512_loadu_ps(from); }
static inline void store(float* to, Vector value) { _mm512_storeu_ps(to, value); }
static inline Vector add(Vector a, Vector b) { return _mm512_add_ps(a, b); }
static inline Vector subtract(Vector a, Vector b) { return _mm512_sub_ps(a, b); }
static inline Vector multiply(Vector a, Vector b) { return _mm512_mul_ps(a, b); }
static inline Vector multiply_add(Vector a, Vector b, Vector c) { return _mm512_fmadd_ps(a, b, c); }
// The second if it is not a number.
static inline Vector greater_of(Vector a, Vector b) { return _mm512_max_ps(a, b); }
// `value`, but zero where `condition` is zero or less: what is not a number passes, as through torch's ReLU.
static inline Vector unless_at_most_zero(Vector condition, Vector value) {
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(condition, zero(), _CMP_NLE_UQ), value);
}
static inline float sum(Vector value) { return _mm512_reduce_add_ps(value); }
#elif defined(__AVX2__) && defined(__FMA__)
using Vector = __m256;
constexpr Index LANES = 8;
constexpr int TILE_OUTPUTS = 4, TILE_VECTORS = 3, TILE_SOURCES = 6;
static inline Vector zero() { return _mm256_setzero_ps(); }
static inline Vector all(float value) { return _mm256_set1_ps(value); }
static inline Vector load(const float* from) { return _mm256_loadu_ps(from); }
static inline void store(float* to, Vector value) { _mm256_storeu_ps(to, value); }
static inline Vector add(Vector a, Vector b) { return _mm256_add_ps(a, b); }
static inline Vector subtract(Vector a, Vector b) { return _mm256_sub_ps(a, b); }
static inline Vector multiply(Vector a, Vector b) { return _mm256_mul_ps(a, b); }
static inline Vector multiply_add(Vector a, Vector b, Vector c) { return _mm256_fmadd_ps(a, b, c); }
// The second if it is not a number.
static inline Vector greater_of(Vector a, Vector b) { return _mm256_max_ps(a, b); }
static inline Vector unless_at_most_zero(Vector condition, Vector value) {
    return _mm256_and_ps(_mm256_cmp_ps(condition, zero(), _CMP_NLE_UQ), value);
}
static inline float sum(Vector value) {
    __m128 half = _mm_add_ps(_mm256_castps256_ps128(value), _mm256_extractf128_ps(value, 1));
    half = _mm_add_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_add_ss(half, _mm_shuffle_ps(half, half, 1)));
}
#else
#error "neither AVX-512 nor AVX2 with FMA"
#endif

// Floats that will be read soon.
static inline void announce(const float* from, Index floats) {
    for (Index i = 0; i < floats; i += 16) _mm_prefetch(from + i, _MM_HINT_T0);
}

// Rows become columns: 8 rows of 8 floats, each with its own address.
static inline void transpose_8x8(const float* const from[8], float* const to[8]) {
    __m256 a[8], b[8];
    for (int row = 0; row < 8; row++) a[row] = _mm256_loadu_ps(from[row]);
    for (int pair = 0; pair < 8; pair += 2) {
        b[pair] = _mm256_unpacklo_ps(a[pair], a[pair + 1]);
        b[pair + 1] = _mm256_unpackhi_ps(a[pair], a[pair + 1]);
    }
    for (int four = 0; four < 8; four += 4) {
        a[four] = _mm256_shuffle_ps(b[four], b[four + 2], 0x44);
        a[four + 1] = _mm256_shuffle_ps(b[four], b[four + 2], 0xEE);
        a[four + 2] = _mm256_shuffle_ps(b[four + 1], b[four + 3], 0x44);
        a[four + 3] = _mm256_shuffle_ps(b[four + 1], b[four + 3], 0xEE);
    }
    for (int row = 0; row < 4; row++) {
        _mm256_storeu_ps(to[row], _mm256_permute2f128_ps(a[row], a[row + 4], 0x20));
        _mm256_storeu_ps(to[row + 4], _mm256_permute2f128_ps(a[row], a[row + 4], 0x31));
    }
}
