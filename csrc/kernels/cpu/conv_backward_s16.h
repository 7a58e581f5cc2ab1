#pragma once
// Gradients of a dense 2-d convolution on codes, by 16-bit products.
//
// Note [16-bit gradients]
// Weight codes (|w| <= 128) and centred activation codes (|q - zero point| <= 255) are exact in
// int16; only the gradient is rounded, to 32767 steps of the largest magnitude among those that
// meet in one integer sum. The data gradient rounds grad * weight_scale with one scale for the
// tensor, or for each group of positions where the kernel is 1x1; the weight gradient rounds with
// one scale per output channel and flush. For normally distributed gradients the error is 3e-5 to
// 7e-5 of the result.
//
// Note [Flush points]
// Pairs of products are summed in int32, and the sums are added to floats before they can overflow:
//   data gradient:   512 products of at most 32767 * 128 are   2 147 418 112 < 2^31,
//   weight gradient: 256 products of at most 32767 * 255 are   2 139 029 760 < 2^31.
// The integer sums are exact in any order. Which products share a sum, and the order of the float
// additions, depend on the shape alone, so every instruction set and every number of threads gives
// the same bits.
//
// A zero gradient gives zeros. Where the largest magnitude is infinite or NaN, every element that
// takes part in its scale is NaN: of d_weight the output channel, of d_input all, or the group of
// positions. Gradients below 2^-110 are rounded to the steps of 2^-110: the
// reciprocal of a smaller scale would overflow.

#include <array>
#include <cstdint>

#include "kernels/cpu/conv_backward.h"

namespace qat::kernels::s16 {

using kernels::ConvShape;
using kernels::ParallelFor;

// Whether the kernels take the shape. A linear layer is a 1x1 kernel with in_size {rows, 1}.
bool is_supported(const ConvShape& shape);

// Whether float32 products are as fast for one of the gradients. Rounding and packing cost the same
// however often an element is used. Time of 16 bits over that of float32, batch 16, AVX512-VNNI:
// the weight gradient of 1x1 layers with 16 to 32 channels on one side 0.95 to 1.15, with 64 0.83
// to 1.04, with 96 and more 0.71 to 0.86; the data gradient with 16 output channels 1.36, with 24
// to 32 input or output channels 0.83 to 0.98.
bool data_prefers_float32(const ConvShape& shape);
bool weight_prefers_float32(const ConvShape& shape);

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

}  // namespace qat::kernels::s16
