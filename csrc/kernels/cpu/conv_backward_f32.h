#pragma once
// Gradients of a dense 2-d convolution on codes, in float32.
//
// Note [Order of float32 sums]
// A product is fused into its sum (one rounding, std::fma). Which products are summed one after
// another from zero, and in which order those partial sums are added, depends on the shape alone,
// so every instruction set and every number of threads gives the same bits. Activation codes enter
// centred (exact), and the scale of the input multiplies the finished sum; weights enter as
// code * scale, rounded once.

#include <array>
#include <cstdint>

#include "kernels/cpu/conv_backward.h"

namespace qat::kernels::f32 {

// Whether the kernels take the shape. A linear layer is a 1x1 kernel with in_size {rows, 1}.
bool is_supported(const ConvShape& shape);

// d_input[n,h,w,c] = sum over k and taps of grad[n,oh,ow,k] * weight_scale[k] * weight[k,c,r,s].
// grad: [N,OH,OW,K]; weight: strides of [K,C,R,S]; weight_scale: [K]; d_input: [N,H,W,C].
void conv_backward_data(const ConvShape& shape, const float* grad, const int8_t* weight,
                        const std::array<int64_t, 4>& weight_strides, const float* weight_scale,
                        float* d_input, const ParallelFor& parallel_for);

// d_weight[k,c,r,s] = input_scale * sum over n, oh, ow of grad[n,oh,ow,k] *
// (codes[n,h,w,c] - zero_point). codes: [N,H,W,C], int8 where they are signed.
void conv_backward_weight(const ConvShape& shape, const float* grad, const uint8_t* codes,
                          int32_t zero_point, float input_scale, float* d_weight,
                          const std::array<int64_t, 4>& weight_strides,
                          const ParallelFor& parallel_for, bool codes_are_signed = false);

}  // namespace qat::kernels::f32
