#include "ops/conv_backward.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/convolution_backward.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/mm.h>

#include <algorithm>
#include <vector>

namespace qat::ops {
namespace {

constexpr const char* kOp = "conv_int_backward";

at::Tensor dequantized(const ConvBackwardArguments& conv) {
  using Signature = at::Tensor(const at::Tensor&, const at::Tensor&, const at::Tensor&, int64_t);
  static const auto op =
      c10::Dispatcher::singleton().findSchemaOrThrow("qat_ext::dequantize", "").typed<Signature>();
  return op.call(conv.codes, conv.scale, conv.zero_point, -1);
}

at::Tensor real_weight(const ConvBackwardArguments& conv) {
  const at::Tensor& codes = conv.weight;
  // Gradients and inputs are channels-last; a weight in the same layout spares oneDNN two copies.
  // A 1x1 kernel is in both layouts at once and takes the strides of the plain one.
  const bool image = codes.dim() == 4 && codes.size(2) * codes.size(3) > 1 && !conv.transposed;
  const at::Tensor real =
      codes.to(codes.options().dtype(at::kFloat), false, false,
               image ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::Contiguous);
  return scaled_channels(conv, real, conv.weight_scale);
}

// A 1x1 kernel without stride or padding.
bool is_linear(const ConvBackwardArguments& conv) {
  const auto all = [](at::IntArrayRef list, int64_t value) {
    return std::all_of(list.begin(), list.end(), [&](int64_t i) { return i == value; });
  };
  return conv.groups == 1 && !conv.transposed && all(conv.weight.sizes().slice(2), 1) &&
         all(conv.stride, 1) && all(conv.padding, 0);
}

std::tuple<at::Tensor, at::Tensor> linear_backward_float32(const ConvBackwardArguments& conv,
                                                           bool input_grad, bool weight_grad) {
  const int64_t outputs = conv.weight.size(0), inputs = conv.weight.size(1);
  const at::Tensor grad = conv.grad.to(at::kFloat).movedim(1, -1);
  const at::Tensor rows = grad.reshape({-1, outputs});
  at::Tensor d_input, d_weight;
  if (input_grad) {
    auto sizes = grad.sizes().vec();
    sizes.back() = inputs;
    const at::Tensor weight = real_weight(conv).reshape({outputs, inputs});
    d_input = at::mm(rows, weight).view(sizes).movedim(-1, 1);
  }
  if (weight_grad) {
    const at::Tensor input = dequantized(conv).movedim(1, -1).reshape({-1, inputs});
    d_weight = at::mm(rows.t(), input).view(conv.weight.sizes());
  }
  return {d_input, d_weight};
}

}  // namespace

Products products_of(std::string_view name) {
  if (name == "float32") return Products::float32;
  if (name == "int16") return Products::int16;
  TORCH_CHECK_VALUE(name == "bfloat16", kOp,
                    ": products: expected float32, int16 or bfloat16, got '", name, "'.");
  return Products::bfloat16;
}

// The output channel of a transposed weight is (group, column).
at::Tensor scaled_channels(const ConvBackwardArguments& conv, const at::Tensor& weight,
                           const at::Tensor& scale) {
  auto split = weight.sizes().vec();
  if (!conv.transposed) {
    std::vector<int64_t> shape(split.size(), 1);
    shape[0] = scale.numel();
    return weight.mul_(scale.view(shape));
  }
  split[0] /= conv.groups;
  split.insert(split.begin(), conv.groups);
  std::vector<int64_t> shape(split.size(), 1);
  shape[0] = conv.groups;
  shape[2] = split[2];
  return weight.reshape(split).mul_(scale.view(shape)).view(weight.sizes());
}

bool strided_pointwise(const ConvBackwardArguments& conv) {
  const auto one = [](int64_t size) { return size == 1; };
  return std::all_of(conv.weight.sizes().begin() + 2, conv.weight.sizes().end(), one) &&
         !std::all_of(conv.stride.begin(), conv.stride.end(), one);
}

void check_conv_int_backward(const ConvBackwardArguments& conv) {
  check_conv_int(conv.forward());
  TORCH_CHECK_VALUE(conv.forward().batched(), kOp, ": codes: expected a batch, got the shape ",
                    conv.codes.sym_sizes(), ".");
  check_floating(kOp, "grad", conv.grad);
  check_device(kOp, "grad", conv.grad, conv.codes);
  check_sizes(kOp, "grad", conv.grad, conv_output_sizes(conv.forward()));
  check_qparams(kOp, conv.codes, conv.scale, conv.zero_point, -1);
  check_per_channel(kOp, "weight_scale", conv.weight_scale, conv.codes, conv.grad.sym_size(1),
                    false);
}

std::tuple<at::Tensor, at::Tensor> empty_conv_gradients(const ConvBackwardArguments& conv) {
  const auto options = conv.codes.options().dtype(at::kFloat);
  const auto none = [&] { return at::empty({0}, options); };
  auto d_input = none(), d_weight = none();
  if (conv.input_grad) {
    auto sizes = conv.codes.sym_sizes().vec();  // channels last in memory
    std::rotate(sizes.begin() + 1, sizes.begin() + 2, sizes.end());
    d_input = at::empty_symint(sizes, options).movedim(-1, 1);
  }
  if (conv.weight_grad) d_weight = at::empty_like(conv.weight, options);
  return {d_input, d_weight};
}

std::tuple<at::Tensor, at::Tensor> conv_backward_float32(const ConvBackwardArguments& conv,
                                                         bool input_grad, bool weight_grad) {
  if (!input_grad && !weight_grad) return {};
  if (is_linear(conv)) return linear_backward_float32(conv, input_grad, weight_grad);
  at::Tensor input = dequantized(conv), weight = real_weight(conv);
  if (strided_pointwise(conv)) {
    input = input.contiguous();
    weight = weight.contiguous();
  }
  auto [d_input, d_weight, d_bias] =
      at::convolution_backward(conv.grad.to(at::kFloat), input, weight, c10::nullopt, conv.stride,
                               conv.padding, conv.dilation, conv.transposed, conv.output_padding,
                               conv.groups, {input_grad, weight_grad, false});
  return {d_input, d_weight};
}

}  // namespace qat::ops
