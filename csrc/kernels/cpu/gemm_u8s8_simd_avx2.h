#pragma once
// The registers of AVX2 for gemm_u8s8_direct_body.h.

#include <cstdint>

#include "kernels/cpu/intrinsics.h"

namespace qat::kernels::u8s8 {

#define QAT_SIMD QAT_TARGET static inline __attribute__((always_inline))

struct Avx2 {
  using Float = __m256;
  using Int = __m256i;
  static constexpr int64_t lanes = 8;
  static constexpr int group = 2;

  QAT_SIMD Float fill(float x) { return _mm256_set1_ps(x); }
  QAT_SIMD Int fill(int32_t x) { return _mm256_set1_epi32(x); }
  QAT_SIMD Float load_floats(const void* p) {
    return _mm256_loadu_ps(static_cast<const float*>(p));
  }
  QAT_SIMD void store_floats(float* p, Float a) { _mm256_storeu_ps(p, a); }
  QAT_SIMD void stream_floats(float* p, Float a) { _mm256_stream_ps(p, a); }
  QAT_SIMD Int load_ints(const void* p) {
    return _mm256_loadu_si256(static_cast<const __m256i*>(p));
  }
  QAT_SIMD Int load_unsigned(const uint8_t* p) { return _mm256_cvtepu8_epi32(load_bytes(p)); }
  QAT_SIMD Int load_signed(const uint8_t* p) { return _mm256_cvtepi8_epi32(load_bytes(p)); }
  QAT_SIMD Float to_float(Int a) { return _mm256_cvtepi32_ps(a); }
  QAT_SIMD Int round(Float a) { return _mm256_cvtps_epi32(a); }
  QAT_SIMD Int add(Int a, Int b) { return _mm256_add_epi32(a, b); }
  QAT_SIMD Int sub(Int a, Int b) { return _mm256_sub_epi32(a, b); }
  QAT_SIMD Float add(Float a, Float b) { return _mm256_add_ps(a, b); }
  QAT_SIMD Float mul(Float a, Float b) { return _mm256_mul_ps(a, b); }
  QAT_SIMD Float clamp(Float a, Float lowest, Float highest) {
    return _mm256_min_ps(_mm256_max_ps(a, lowest), highest);
  }
  QAT_SIMD Float unless_nan(Float tested, Float a, Float otherwise) {
    return _mm256_blendv_ps(a, otherwise, _mm256_cmp_ps(tested, tested, _CMP_UNORD_Q));
  }

  // Of bytes, unsigned or signed.
  struct Bounds {
    __m128i lowest, highest;
  };
  QAT_SIMD Bounds bounds(int lowest, int highest) {
    return {_mm_set1_epi8(static_cast<char>(lowest)), _mm_set1_epi8(static_cast<char>(highest))};
  }

  // Narrows with saturation and clamps.
  template <int vectors>
  QAT_SIMD void store(const Int* codes, bool is_signed, const Bounds& k, uint8_t* to) {
    for (int i = 0; i < vectors; ++i) {
      const __m128i words =
          _mm_packs_epi32(_mm256_castsi256_si128(codes[i]), _mm256_extracti128_si256(codes[i], 1));
      const __m128i bytes =
          is_signed
              ? _mm_min_epi8(_mm_max_epi8(_mm_packs_epi16(words, words), k.lowest), k.highest)
              : _mm_min_epu8(_mm_max_epu8(_mm_packus_epi16(words, words), k.lowest), k.highest);
      _mm_storel_epi64(reinterpret_cast<__m128i*>(to + i * lanes), bytes);
    }
  }

 private:
  QAT_SIMD __m128i load_bytes(const uint8_t* p) {
    return _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
  }
};

#undef QAT_SIMD

}  // namespace qat::kernels::u8s8
