#pragma once
// One register of floats of the instruction set that a file is compiled for: Note [Vectors].

#include <cstdint>
#include <type_traits>

#if defined(__SSE2__)
#include "kernels/cpu/intrinsics.h"
#endif
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

QAT_INLINE IntVector load_codes(const uint8_t* from, int64_t n = kLanes) {
  return __builtin_convertvector(load<ByteVector>(from, n), IntVector);
}

}  // namespace qat::kernels::QAT_CPU_CAPABILITY
