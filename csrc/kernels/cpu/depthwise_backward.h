#pragma once
// Both gradients of a depthwise 2-d convolution on codes, in one pass over gradient and codes.
//
// Note [Order of sums]
// Everything is float32 with separate rounding of product and sum. d_input adds the taps in kernel
// order; d_weight adds the positions of an image in their order and then the images in theirs, so
// that instruction set and number of threads do not change a bit.

#include <array>
#include <cstdint>

#include "kernels/cpu/conv_backward.h"

namespace qat::kernels::depthwise {

using kernels::ParallelFor;

// One filter per channel, channels-last, dilation 1.
struct Shape {
  int64_t batch = 0, channels = 0;
  std::array<int64_t, 2> in_size{}, out_size{}, kernel{}, stride{}, padding{};
};

struct Operands {
  const float* grad = nullptr;     // [N,OH,OW,C]
  const uint8_t* codes = nullptr;  // [N,H,W,C], int8 where they are signed
  bool codes_are_signed = false;
  int32_t zero_point = 0;
  float input_scale = 1.0f;
  const int8_t* weight = nullptr;           // codes
  std::array<int64_t, 3> weight_strides{};  // of [C,R,S], shared by d_weight
  const float* weight_scale = nullptr;      // [C]
};

// Kernels of 3x3 and 5x5 with stride 1 or 2 and a padding below the kernel's size.
bool is_supported(const Shape& shape);

// d_input: [N,H,W,C].
void backward(const Shape& shape, const Operands& operands, float* d_input, float* d_weight,
              const ParallelFor& parallel_for);

}  // namespace qat::kernels::depthwise
