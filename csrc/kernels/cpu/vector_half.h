#pragma once
// float16 in memory, float32 in registers. Every instruction set gives the bits of the processor's
// own conversion: to nearest, ties to even, subnormal numbers kept, NaN quiet.

#include "kernels/cpu/vector.h"

namespace qat::kernels::QAT_CPU_CAPABILITY {

using ShortVector = uint16_t __attribute__((vector_size(kVectorBytes / 2)));

constexpr float kLargestHalf = 65504.0f;

#if !defined(__AVX512F__) && !defined(__F16C__)
// Neither function makes or reads a subnormal float, which a program may have switched off.
QAT_INLINE FloatVector widen_half(ShortVector half) {
  const IntVector bits = __builtin_convertvector(half, IntVector);
  const IntVector magnitude = (bits & 0x7fff) << 13;
  constexpr int32_t kRebias = (127 - 15) << 23, kInfinity = 0x7c00 << 13;
  const IntVector normal = magnitude + kRebias;
  const IntVector special =
      (normal + kRebias) | (magnitude > kInfinity ? IntVector{} + 0x400000 : IntVector{});
  // A subnormal's digits behind an implicit one, which is subtracted.
  constexpr int32_t kSmallest = (127 - 14) << 23;  // 2^-14
  const auto one = reinterpret_cast<FloatVector>(IntVector{} + kSmallest);
  const FloatVector small = reinterpret_cast<FloatVector>(magnitude + kSmallest) - one;
  IntVector widened = magnitude >= kInfinity ? special : normal;
  widened = magnitude < (0x400 << 13) ? reinterpret_cast<IntVector>(small) : widened;
  return reinterpret_cast<FloatVector>(widened | ((bits & 0x8000) << 16));
}

QAT_INLINE ShortVector narrow_to_half(FloatVector x) {
  const auto bits = reinterpret_cast<IntVector>(x);
  const IntVector magnitude = bits & 0x7fffffff;
  // Half of the last digit less one, and one more where that digit is odd.
  constexpr int32_t kRebias = (127 - 15) << 23;
  const IntVector normal = (magnitude - kRebias + 0xfff + ((magnitude >> 13) & 1)) >> 13;
  // Adding 0.5 leaves a subnormal's digits, rounded, at the end.
  const auto half = reinterpret_cast<FloatVector>(IntVector{} + (126 << 23));
  const FloatVector shifted = reinterpret_cast<FloatVector>(magnitude) + half;
  const IntVector small = reinterpret_cast<IntVector>(shifted) - (126 << 23);
  const IntVector nan = ((magnitude >> 13) & 0x3ff) | 0x7e00;
  IntVector narrow = magnitude < ((127 - 14) << 23) ? small : normal;
  narrow = magnitude >= ((127 + 16) << 23) ? IntVector{} + 0x7c00 : narrow;
  narrow = magnitude > 0x7f800000 ? nan : narrow;
  return __builtin_convertvector(narrow | ((bits >> 16) & 0x8000), ShortVector);
}
#endif

QAT_INLINE FloatVector load_half(const uint16_t* from, int64_t n = kLanes) {
  const auto half = load<ShortVector>(from, n);
#if defined(__AVX512F__)
  return _mm512_cvtph_ps(reinterpret_cast<__m256i>(half));
#elif defined(__F16C__)
  return _mm256_cvtph_ps(reinterpret_cast<__m128i>(half));
#else
  return widen_half(half);
#endif
}

QAT_INLINE void store_half(uint16_t* to, FloatVector x, int64_t n = kLanes) {
#if defined(__AVX512F__)
  const __m256i half = _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  store(to, reinterpret_cast<ShortVector>(half), n);
#elif defined(__F16C__)
  const __m128i half = _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  store(to, reinterpret_cast<ShortVector>(half), n);
#else
  store(to, narrow_to_half(x), n);
#endif
}

}  // namespace qat::kernels::QAT_CPU_CAPABILITY
