#pragma once
// The gradients of an integer convolution: their rules, their float32 and their bfloat16 form.

#include <string_view>
#include <tuple>

#include "ops/conv_arguments.h"

namespace qat::ops {

// What gradients are multiplied as. Sums are float32 (int16: int32 within a block) in any case.
enum class Products { float32, int16, bfloat16 };
// Of the operator's argument; throws for any other word.
Products products_of(std::string_view name);

// v = conv_int(codes, weight) * (scale * weight_scale[k]); grad is the gradient of v.
struct ConvBackwardArguments {
  const at::Tensor& grad;
  const at::Tensor &codes, &scale, &zero_point;
  const at::Tensor &weight, &weight_scale;
  at::IntArrayRef stride, padding, dilation, output_padding;
  int64_t groups;
  bool transposed;
  Products products;
  bool input_grad, weight_grad;

  ConvArguments forward() const {
    return {codes, 0, weight, stride, padding, dilation, output_padding, groups, transposed};
  }
};

void check_conv_int_backward(const ConvBackwardArguments& conv);

// Uninitialised results with their memory order: d_input channels-last, d_weight like the weight;
// one that is not wanted has no elements.
std::tuple<at::Tensor, at::Tensor> empty_conv_gradients(const ConvBackwardArguments& conv);

// (d_input, d_weight) by ATen's float32 convolutions; one that is not wanted is undefined.
std::tuple<at::Tensor, at::Tensor> conv_backward_float32(const ConvBackwardArguments& conv,
                                                         bool input_grad, bool weight_grad);
// The same with bfloat16 products; d_input may be bfloat16.
std::tuple<at::Tensor, at::Tensor> conv_backward_bfloat16(const ConvBackwardArguments& conv,
                                                          bool input_grad, bool weight_grad);

// Multiplies `weight`, a tensor of the caller's own shaped like the convolution's, by float32[K]
// along its output channels: in place, since the largest weights come where a step's memory peaks.
at::Tensor scaled_channels(const ConvBackwardArguments& conv, const at::Tensor& weight,
                           const at::Tensor& scale);
// oneDNN's weight gradient of a strided 1x1 convolution writes out of bounds for channels-last
// operands of 6 or 8 channels (torch 2.13, without this library as well).
bool strided_pointwise(const ConvBackwardArguments& conv);

}  // namespace qat::ops
