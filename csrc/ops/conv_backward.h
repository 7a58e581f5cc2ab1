#pragma once
// The gradients of an integer convolution: their rules and their float32 form.

#include <tuple>

#include "ops/conv_arguments.h"

namespace qat::ops {

// v = conv_int(codes, weight) * (scale * weight_scale[k]); grad is the gradient of v.
struct ConvBackwardArguments {
  const at::Tensor& grad;
  const at::Tensor &codes, &scale, &zero_point;
  const at::Tensor &weight, &weight_scale;
  at::IntArrayRef stride, padding, dilation, output_padding;
  int64_t groups;
  bool transposed;
  int64_t bits;  // of the products: 32 (float32) or 16
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

}  // namespace qat::ops
