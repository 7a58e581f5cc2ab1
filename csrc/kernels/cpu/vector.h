#pragma once
// One register of floats of the instruction set that a file is compiled for: Note [Vectors].

#include <cstdint>
#include <type_traits>

#include "kernels/cpu/intrinsics.h"
#include "numerics/arith.h"

namespace qat::kernels::QAT_CPU_CAPABILITY {

#if defined(__AVX512F__)
constexpr int64_t kVectorBytes = 64;
#elif defined(__AVX__)
constexpr int64_t kVectorBytes = 32;
#else
constexpr int64_t kVectorBytes = 16;
#endif
constexpr int64_t kLanes = kVectorBytes / 4;

using FloatVector = float __attribute__((vector_size(kVectorBytes)));
using IntVector = int32_t __attribute__((vector_size(kVectorBytes)));
using HalfVector = float __attribute__((vector_size(kVectorBytes / 2)));
using DoubleVector = double __attribute__((vector_size(kVectorBytes)));
using ByteVector = uint8_t __attribute__((vector_size(kLanes)));

// The first `n` lanes; the others are zero. n == kLanes compiles to one unaligned load.
template <typename Vector, typename T>
QAT_INLINE Vector load(const T* from, int64_t n = kLanes) {
  static_assert(sizeof(Vector) == kLanes * sizeof(T));
  Vector v{};
  if (n == kLanes) {
    __builtin_memcpy(&v, from, sizeof v);
  } else {
    __builtin_memcpy(&v, from, static_cast<size_t>(n) * sizeof(T));
  }
  return v;
}

template <typename Vector, typename T>
QAT_INLINE void store(T* to, Vector v, int64_t n = kLanes) {
  static_assert(sizeof(Vector) == kLanes * sizeof(T));
  if (n == kLanes) {
    __builtin_memcpy(to, &v, sizeof v);
  } else {
    __builtin_memcpy(to, &v, static_cast<size_t>(n) * sizeof(T));
  }
}

// A store that goes around the caches, for results larger than they are: without it each line is
// read before it is written. to: aligned to kVectorBytes. end_streaming() makes them visible.
QAT_INLINE void stream(float* to, FloatVector v) {
#if defined(__AVX512F__)
  _mm512_stream_ps(to, v);
#elif defined(__AVX__)
  _mm256_stream_ps(to, v);
#elif defined(__SSE2__)
  _mm_stream_ps(to, v);
#else
  store(to, v);
#endif
}

QAT_INLINE void end_streaming() {
#if defined(__SSE2__)
  _mm_sfence();
#endif
}

// All lanes of a vector, where their number is a compile-time constant.
using WholeVector = std::integral_constant<int64_t, kLanes>;

// The first `lanes` lanes: a WholeVector, or an int64_t below kLanes.
template <bool streams, typename Lanes>
QAT_INLINE void store_result(float* to, FloatVector v, Lanes lanes) {
  if constexpr (streams && std::is_same_v<Lanes, WholeVector>) {
    stream(to, v);
  } else {
    store(to, v, lanes);
  }
}

// Intrinsics where GCC 12 would convert lane by lane.
QAT_INLINE IntVector load_codes(const uint8_t* from, int64_t n = kLanes) {
  const auto codes = load<ByteVector>(from, n);
#if defined(__AVX512F__)
  return reinterpret_cast<IntVector>(_mm512_cvtepu8_epi32(reinterpret_cast<__m128i>(codes)));
#elif defined(__AVX2__)
  int64_t eight;
  __builtin_memcpy(&eight, &codes, sizeof eight);
  return reinterpret_cast<IntVector>(_mm256_cvtepu8_epi32(_mm_cvtsi64_si128(eight)));
#elif defined(__aarch64__)
  uint32_t four;
  __builtin_memcpy(&four, &codes, sizeof four);
  return reinterpret_cast<IntVector>(vmovl_u16(vget_low_u16(vmovl_u8(vcreate_u8(four)))));
#else
  return __builtin_convertvector(codes, IntVector);
#endif
}

QAT_INLINE void store_codes(uint8_t* to, IntVector codes, int64_t n = kLanes) {
#if defined(__AVX512F__)
  const auto vector = reinterpret_cast<__m512i>(codes);
  store(to, reinterpret_cast<ByteVector>(_mm512_cvtepi32_epi8(vector)), n);
#elif defined(__AVX2__)
  // The low byte of each lane to the front of its half, then the halves together.
  const __m256i order = _mm256_broadcastsi128_si256(
      _mm_setr_epi8(0, 4, 8, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1));
  const __m256i bytes = _mm256_shuffle_epi8(reinterpret_cast<__m256i>(codes), order);
  const __m128i both =
      _mm_unpacklo_epi32(_mm256_castsi256_si128(bytes), _mm256_extracti128_si256(bytes, 1));
  const int64_t eight = _mm_cvtsi128_si64(both);
  ByteVector packed;
  __builtin_memcpy(&packed, &eight, sizeof packed);
  store(to, packed, n);
#elif defined(__aarch64__)
  const uint8x16_t bytes = reinterpret_cast<uint8x16_t>(codes);  // every fourth one
  const uint8x16_t even = vuzp1q_u8(bytes, bytes);
  const uint32_t four = vgetq_lane_u32(vreinterpretq_u32_u8(vuzp1q_u8(even, even)), 0);
  ByteVector packed;
  __builtin_memcpy(&packed, &four, sizeof packed);
  store(to, packed, n);
#else
  store(to, __builtin_convertvector(codes, ByteVector), n);
#endif
}

}  // namespace qat::kernels::QAT_CPU_CAPABILITY
