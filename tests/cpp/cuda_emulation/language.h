#pragma once
// What nvcc knows without an include, as far as the kernels use it. Included in front of every
// kernel file. Arithmetic follows the CUDA programming guide; this target never contracts.

#include <cmath>
#include <cstdint>
#include <cstring>

#include "machine.h"

#define __global__ __attribute__((unused))
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __shared__ __attribute__((unused)) static thread_local

using qat::emulation::blockDim;
using qat::emulation::blockIdx;
using qat::emulation::gridDim;
using qat::emulation::threadIdx;

inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fsqrt_rn(float a) { return std::sqrt(a); }
inline float __int2float_rn(int a) { return static_cast<float>(a); }
inline float __ll2float_rn(long long a) { return static_cast<float>(a); }

inline float __int_as_float(int bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// The sum of the products of four signed bytes and c. A device wraps where this reports.
inline int __dp4a(int a, int b, int c) {
  int8_t left[4], right[4];
  std::memcpy(left, &a, 4);
  std::memcpy(right, &b, 4);
  for (int i = 0; i < 4; ++i) {
    if (__builtin_add_overflow(c, left[i] * right[i], &c)) {
      qat::emulation::report("__dp4a: the sum leaves int32");
    }
  }
  return c;
}

inline void __syncthreads(const qat::emulation::Site site = qat::emulation::Site::current()) {
  qat::emulation::meet_block(false, site);
}

inline int __syncthreads_or(int value,
                            const qat::emulation::Site site = qat::emulation::Site::current()) {
  return qat::emulation::meet_block(value != 0, site);
}

// Lanes beyond the last one keep their value.
template <typename T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta,
                   const qat::emulation::Site site = qat::emulation::Site::current()) {
  static_assert(sizeof(T) <= qat::emulation::kMessage);
  if (mask != 0xffffffffu) qat::emulation::report("__shfl_down_sync: not emulated for some lanes");
  const auto* messages = qat::emulation::meet_warp(&value, sizeof value, site);
  const unsigned from = threadIdx.x % qat::emulation::kWarp + delta;
  if (from < qat::emulation::kWarp) std::memcpy(&value, messages[from].bytes, sizeof value);
  return value;
}

// No two threads run at once.
template <typename T>
T atomicAdd(T* to, T value) {
  const T before = *to;
  *to += value;
  return before;
}
