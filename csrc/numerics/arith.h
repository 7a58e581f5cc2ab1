#pragma once
// Single-precision arithmetic with a fixed meaning on every device.
//
// Note [No contraction]
// The contract (docs/numerics.md) counts roundings: a*b+c is two of them. A compiler that fuses
// the pair changes about 8 codes in a million, so host code is compiled with -ffp-contract=off and
// device code uses the intrinsics that nvcc never contracts. Functions have internal linkage:
// kernels are compiled several times for different instruction sets, and the linker must not
// merge an AVX-512 copy with the portable one.
//
// Note [Vectors]
// A function that is a template on its operands' type takes a float, or a vector of floats as GCC
// and clang know them (kernels/cpu/vector.h); each lane of the result is what the float would give.

#include <cmath>
#include <cstdint>

#if defined(__CUDACC__)
#define QAT_INLINE static __host__ __device__ __forceinline__
#else
#define QAT_INLINE static inline __attribute__((always_inline, unused))
#endif

namespace qat::numerics {

QAT_INLINE float mul(float a, float b) {
#if defined(__CUDA_ARCH__)
  return __fmul_rn(a, b);
#else
  return a * b;
#endif
}

QAT_INLINE float add(float a, float b) {
#if defined(__CUDA_ARCH__)
  return __fadd_rn(a, b);
#else
  return a + b;
#endif
}

template <typename Reals>
QAT_INLINE Reals mul(Reals a, Reals b) {
  return a * b;
}

template <typename Reals>
QAT_INLINE Reals add(Reals a, Reals b) {
  return a + b;
}

// A constant in every lane.
template <typename Reals>
QAT_INLINE Reals splat(float value) {
  return Reals{} + value;
}

QAT_INLINE float divide(float a, float b) {
#if defined(__CUDA_ARCH__)
  return __fdiv_rn(a, b);
#else
  return a / b;
#endif
}

QAT_INLINE float square_root(float a) {
#if defined(__CUDA_ARCH__)
  return __fsqrt_rn(a);
#else
  return std::sqrt(a);
#endif
}

// Nearest integer, ties to even. The host build never changes the rounding mode.
QAT_INLINE float round_half_even(float a) {
#if defined(__CUDA_ARCH__)
  return rintf(a);
#else
  return __builtin_nearbyintf(a);
#endif
}

// An integer accumulator as float32, one rounding (exact below 2^24).
QAT_INLINE float to_float(int32_t a) {
#if defined(__CUDA_ARCH__)
  return __int2float_rn(a);
#else
  return static_cast<float>(a);
#endif
}

QAT_INLINE float to_float(int64_t a) {
#if defined(__CUDA_ARCH__)
  return __ll2float_rn(a);
#else
  return static_cast<float>(a);
#endif
}

template <typename Reals>
QAT_INLINE Reals clamp(Reals a, Reals lo, Reals hi) {
  a = a < lo ? lo : a;
  return a > hi ? hi : a;
}

}  // namespace qat::numerics
