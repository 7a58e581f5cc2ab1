#pragma once
// The registers of AVX-512 for gemm_u8s8_direct_body.h.

#include <cstdint>

#include "kernels/cpu/intrinsics.h"

namespace qat::kernels::u8s8 {

#define QAT_SIMD QAT_TARGET static inline __attribute__((always_inline))

struct Avx512 {
  using Float = __m512;
  using Int = __m512i;
  static constexpr int64_t lanes = 16;
  static constexpr int group = 4;

  QAT_SIMD Float fill(float x) { return _mm512_set1_ps(x); }
  QAT_SIMD Int fill(int32_t x) { return _mm512_set1_epi32(x); }
  QAT_SIMD Float load_floats(const void* p) { return _mm512_loadu_ps(p); }
  QAT_SIMD void store_floats(float* p, Float a) { _mm512_storeu_ps(p, a); }
  QAT_SIMD void stream_floats(float* p, Float a) { _mm512_stream_ps(p, a); }
  QAT_SIMD Int load_ints(const void* p) { return _mm512_loadu_si512(p); }
  QAT_SIMD Int load_unsigned(const uint8_t* p) { return _mm512_cvtepu8_epi32(load_bytes(p)); }
  QAT_SIMD Int load_signed(const uint8_t* p) { return _mm512_cvtepi8_epi32(load_bytes(p)); }
  QAT_SIMD Float to_float(Int a) { return _mm512_cvtepi32_ps(a); }
  QAT_SIMD Int round(Float a) { return _mm512_cvtps_epi32(a); }
  QAT_SIMD Int add(Int a, Int b) { return _mm512_add_epi32(a, b); }
  QAT_SIMD Int sub(Int a, Int b) { return _mm512_sub_epi32(a, b); }
  QAT_SIMD Float add(Float a, Float b) { return _mm512_add_ps(a, b); }
  QAT_SIMD Float mul(Float a, Float b) { return _mm512_mul_ps(a, b); }
  QAT_SIMD Float clamp(Float a, Float lowest, Float highest) {
    return _mm512_min_ps(_mm512_max_ps(a, lowest), highest);
  }
  QAT_SIMD Float unless_nan(Float tested, Float a, Float otherwise) {
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(tested, tested, _CMP_UNORD_Q), a, otherwise);
  }

  // Of bytes, unsigned or signed.
  struct Bounds {
    __m512i lowest, highest;
  };
  QAT_SIMD Bounds bounds(int lowest, int highest) {
    return {_mm512_set1_epi8(static_cast<char>(lowest)),
            _mm512_set1_epi8(static_cast<char>(highest))};
  }

  // Narrows with saturation and clamps.
  template <int vectors>
  QAT_SIMD void store(const Int* codes, bool is_signed, const Bounds& k, uint8_t* to) {
    const Int low = _mm512_packs_epi32(codes[0], codes[vectors > 1 ? 1 : 0]);
    const Int high =
        vectors > 2 ? _mm512_packs_epi32(codes[vectors > 2 ? 2 : 0], codes[vectors - 1]) : low;
    Int bytes = is_signed ? _mm512_packs_epi16(low, high) : _mm512_packus_epi16(low, high);
    bytes = is_signed ? _mm512_min_epi8(_mm512_max_epi8(bytes, k.lowest), k.highest)
                      : _mm512_min_epu8(_mm512_max_epu8(bytes, k.lowest), k.highest);
    // Packing works on 128-bit lanes: quad q of lane l holds codes 16 * q + 4 * l and on.
    const Int order = _mm512_set_epi32(15, 11, 7, 3, 14, 10, 6, 2, 13, 9, 5, 1, 12, 8, 4, 0);
    bytes = _mm512_permutexvar_epi32(order, bytes);
    if constexpr (vectors == 4) _mm512_storeu_si512(to, bytes);
    if constexpr (vectors == 2 || vectors == 3) {
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm512_castsi512_si256(bytes));
    }
    if constexpr (vectors == 3) {
      _mm_storeu_si128(reinterpret_cast<__m128i*>(to + 32), _mm512_extracti32x4_epi32(bytes, 2));
    }
    if constexpr (vectors == 1) {
      _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm512_castsi512_si128(bytes));
    }
  }

 private:
  QAT_SIMD __m128i load_bytes(const uint8_t* p) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  }
};

#undef QAT_SIMD

}  // namespace qat::kernels::u8s8
