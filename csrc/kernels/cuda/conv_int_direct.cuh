#pragma once
// Direct integer convolution: one thread per result, any sizes.

#include "kernels/cuda/code_sums.cuh"
#include "kernels/cuda/kernels.h"
#include "numerics/arith.h"

namespace qat::kernels::cuda {

// The input position that the kernel's position k reads for output o, or -1 where there is none:
// padding, and the gaps of a transposed convolution, contribute centred zeros.
__device__ __forceinline__ int64_t input_position(const ConvShape& s, int axis, int64_t o,
                                                  int64_t k) {
  int64_t i;
  if (s.transposed) {
    i = o + s.padding[axis] - k * s.dilation[axis];
    if (i < 0 || i % s.stride[axis] != 0) return -1;
    i /= s.stride[axis];
  } else {
    i = o * s.stride[axis] - s.padding[axis] + k * s.dilation[axis];
  }
  return i >= 0 && i < s.in[axis] ? i : -1;
}

// whole: both pointers are multiples of four bytes, and so is n.
__device__ __forceinline__ int64_t centred_sum(const uint8_t* codes, const int8_t* weight,
                                               int64_t n, SignedCodes kind, bool whole) {
  int64_t total = 0;
  for (int64_t begin = 0; begin < n; begin += kLongestSum) {
    const int64_t end = begin + kLongestSum < n ? begin + kLongestSum : n;
    CodeSums sums;
    if (whole) {
      for (int64_t k = begin; k < end; k += 4) {
        const auto four = *reinterpret_cast<const uint32_t*>(codes + k) ^ kind.flip;
        sums.add_four(static_cast<int32_t>(four), *reinterpret_cast<const int32_t*>(weight + k));
      }
    } else {
      for (int64_t k = begin; k < end; ++k) {
        sums.add_one(static_cast<int8_t>(codes[k] ^ (kind.flip & 0xff)), weight[k]);
      }
    }
    total += sums.centred(kind.zero_point);
  }
  return total;
}

// codes: one image from the group's first channel on; weight: one filter.
__device__ __forceinline__ int64_t window_sum(const ConvShape& s, const uint8_t* codes,
                                              const int8_t* weight, const int64_t (&o)[3],
                                              SignedCodes kind, bool whole) {
  const int64_t depth = s.channels / s.groups;
  int64_t total = 0;
  for (int64_t z = 0; z < s.kernel[0]; ++z) {
    const int64_t iz = input_position(s, 0, o[0], z);
    if (iz < 0) continue;
    for (int64_t y = 0; y < s.kernel[1]; ++y) {
      const int64_t iy = input_position(s, 1, o[1], y);
      if (iy < 0) continue;
      for (int64_t x = 0; x < s.kernel[2]; ++x) {
        const int64_t ix = input_position(s, 2, o[2], x);
        if (ix < 0) continue;
        const int64_t pixel = (iz * s.in[1] + iy) * s.in[2] + ix;
        const int64_t place = (z * s.kernel[1] + y) * s.kernel[2] + x;
        total +=
            centred_sum(codes + pixel * s.channels, weight + place * depth, depth, kind, whole);
      }
    }
  }
  return total;
}

static __global__ void __launch_bounds__(kThreads)
    convolve(ConvShape s, const uint8_t* codes, SignedCodes kind, const int8_t* weight, bool whole,
             int64_t results, float* out) {
  const int64_t depth = s.channels / s.groups, filters_per_group = s.filters / s.groups;
  const int64_t pixels = s.in[0] * s.in[1] * s.in[2];
  const int64_t window = s.kernel[0] * s.kernel[1] * s.kernel[2] * depth;
  for (int64_t t = first_item(); t < results; t += item_step()) {
    int64_t rest = quotient_of(t, s.filters);
    const int64_t filter = t - rest * s.filters;
    int64_t o[3];
    for (int axis = 2; axis >= 0; --axis) {
      const int64_t next = quotient_of(rest, s.out[axis]);
      o[axis] = rest - next * s.out[axis];
      rest = next;
    }
    const int64_t group = quotient_of(filter, filters_per_group);
    const uint8_t* image = codes + rest * pixels * s.channels + group * depth;
    out[t] = numerics::to_float(window_sum(s, image, weight + filter * window, o, kind, whole));
  }
}

}  // namespace qat::kernels::cuda
