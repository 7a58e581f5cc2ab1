// Gradients of an integer convolution from products of bfloat16.
//
// Note [bfloat16 gradients]
// Centred codes (at most 255 in magnitude) and int8 weights are integers of at most 8 bits, exact
// in bfloat16. The gradient is multiplied by the weight's scale first and then rounded, so that
// d_input takes the weight codes as they are; d_weight divides by that scale again. Sums are
// float32, and torch rounds the results to bfloat16. Each of the two roundings is off by up to 2^-8
// of an element; over mantissas that are spread logarithmically that is
//   2^-8 / sqrt(3) * sqrt((1 - 1/4) / (2 ln 2)) = 1.66e-3
// in the root mean square, so both together are 2.35e-3 of the gradient's norm.

#include <ATen/Context.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/convolution_backward.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <vector>

#include "ops/conv_backward.h"

namespace qat::ops {
namespace {

struct Operands {
  at::Tensor grad, input, weight;
};

// Processors without these products get the same rounded operands as float32: torch's own loops
// for bfloat16 are slower than its float32 ones.
bool multiplies_bfloat16(const at::Tensor& codes) {
  if (!codes.is_cpu()) return true;
#if defined(__x86_64__)
  const auto& context = at::globalContext();
  return __builtin_cpu_supports("avx512bf16") && context.hasMKLDNN() && context.userEnabledMkldnn();
#else
  return false;
#endif
}

Operands rounded(const ConvBackwardArguments& conv) {
  std::vector<int64_t> shape(static_cast<size_t>(conv.grad.dim()), 1);
  shape[1] = conv.weight_scale.numel();
  const at::Tensor scaled = conv.grad.to(at::kFloat) * conv.weight_scale.view(shape);
  Operands operands{scaled.to(at::kBFloat16), conv.codes.to(at::kBFloat16),
                    conv.weight.to(at::kBFloat16)};
  operands.input.sub_(conv.zero_point.to(at::kBFloat16));
  if (!multiplies_bfloat16(conv.codes)) {
    for (at::Tensor* each : {&operands.grad, &operands.input, &operands.weight}) {
      *each = each->to(at::kFloat);
    }
  }
  return operands;
}

// A 1x1 convolution, which a linear layer is as well.
bool is_matrix_product(const ConvBackwardArguments& conv) {
  const auto all = [](at::IntArrayRef list, int64_t value) {
    return std::all_of(list.begin(), list.end(), [=](int64_t each) { return each == value; });
  };
  return conv.weight.dim() == 4 && all(conv.weight.sizes().slice(2), 1) && all(conv.padding, 0) &&
         conv.groups == 1 && !conv.transposed;
}

at::Tensor rows_of(const at::Tensor& image) {
  return image.permute({0, 2, 3, 1}).reshape({-1, image.size(1)});
}

// The positions that a 1x1 convolution reads.
at::Tensor read_by(const at::Tensor& image, at::IntArrayRef stride) {
  return image.slice(2, 0, c10::nullopt, stride[0]).slice(3, 0, c10::nullopt, stride[1]);
}

// Half the time of the convolution for 16 to 32 channels, an eighth for the 16 rows of a
// classifier or for stride 2.
std::tuple<at::Tensor, at::Tensor> by_matrix_products(const ConvBackwardArguments& conv,
                                                      const Operands& operands, bool input_grad,
                                                      bool weight_grad) {
  const at::Tensor grad = rows_of(operands.grad), read = read_by(operands.input, conv.stride);
  at::Tensor d_input, d_weight;
  if (input_grad) {
    const at::Tensor rows = at::mm(grad, operands.weight.flatten(1));
    d_input = rows.view({read.size(0), read.size(2), read.size(3), -1}).permute({0, 3, 1, 2});
    if (read.numel() != operands.input.numel()) {
      const at::Tensor whole = at::zeros_like(operands.input);
      read_by(whole, conv.stride).copy_(d_input);
      d_input = whole;
    }
  }
  if (weight_grad) d_weight = at::mm(grad.t(), rows_of(read)).view(conv.weight.sizes());
  return {d_input, d_weight};
}

std::tuple<at::Tensor, at::Tensor> by_convolution(const ConvBackwardArguments& conv,
                                                  Operands operands, bool input_grad,
                                                  bool weight_grad) {
  if (strided_pointwise(conv)) {
    operands.input = operands.input.contiguous();
    operands.weight = operands.weight.contiguous();
  } else if (conv.weight.dim() == 4 && !conv.transposed) {
    operands.weight = operands.weight.contiguous(at::MemoryFormat::ChannelsLast);
  }
  auto [d_input, d_weight, d_bias] =
      at::convolution_backward(operands.grad, operands.input, operands.weight, c10::nullopt,
                               conv.stride, conv.padding, conv.dilation, conv.transposed,
                               conv.output_padding, conv.groups, {input_grad, weight_grad, false});
  return {d_input, d_weight};
}

}  // namespace

std::tuple<at::Tensor, at::Tensor> conv_backward_bfloat16(const ConvBackwardArguments& conv,
                                                          bool input_grad, bool weight_grad) {
  if (!input_grad && !weight_grad) return {};
  const Operands operands = rounded(conv);
  auto [d_input, d_weight] = is_matrix_product(conv)
                                 ? by_matrix_products(conv, operands, input_grad, weight_grad)
                                 : by_convolution(conv, operands, input_grad, weight_grad);
  if (weight_grad) {
    d_weight = scaled_channels(conv, d_weight.to(at::kFloat), conv.scale.div(conv.weight_scale));
  }
  return {d_input, d_weight};
}

}  // namespace qat::ops
