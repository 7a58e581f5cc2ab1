#include <ATen/Parallel.h>
#include <torch/library.h>

#include "kernels/cpu/conv_backward_f32.h"
#include "kernels/cpu/conv_backward_s16.h"
#include "kernels/cpu/depthwise_backward.h"
#include "ops/conv_backward.h"

namespace qat::ops {
namespace {

namespace f32 = kernels::f32;
namespace s16 = kernels::s16;
namespace depthwise = kernels::depthwise;

std::array<int64_t, 2> pair(at::IntArrayRef list) { return {list[0], list[1]}; }

kernels::ConvShape shape_of(const ConvBackwardArguments& conv) {
  const auto sizes = [](const at::Tensor& t) { return pair(t.sizes().slice(2)); };
  return {conv.codes.size(0), conv.codes.size(1), conv.grad.size(1),
          sizes(conv.codes),  sizes(conv.grad),   sizes(conv.weight),
          pair(conv.stride),  pair(conv.padding), pair(conv.dilation)};
}

// What the kernels here take; the rest goes to torch's float32 convolutions.
bool is_dense_2d(const ConvBackwardArguments& conv) {
  return conv.codes.dim() == 4 && conv.groups == 1 && !conv.transposed &&
         f32::is_supported(shape_of(conv));
}

void in_parallel(int64_t count, const std::function<void(int64_t, int64_t)>& body) {
  at::parallel_for(0, count, 1, body);
}

std::array<int64_t, 4> strides_of(const at::Tensor& weight) {
  const auto strides = weight.strides();
  return {strides[0], strides[1], strides[2], strides[3]};
}

// `gradient`: the kernel of one of the two kinds of products.
template <typename Gradient>
void input_gradient(const ConvBackwardArguments& conv, const at::Tensor& grad, at::Tensor& d_input,
                    Gradient gradient) {
  const at::Tensor scale = conv.weight_scale.contiguous();
  gradient(shape_of(conv), grad.const_data_ptr<float>(), conv.weight.const_data_ptr<int8_t>(),
           strides_of(conv.weight), scale.const_data_ptr<float>(),
           d_input.mutable_data_ptr<float>(), in_parallel);
}

template <typename Gradient>
void weight_gradient(const ConvBackwardArguments& conv, const at::Tensor& grad,
                     at::Tensor& d_weight, Gradient gradient) {
  const at::Tensor codes = conv.codes.contiguous(at::MemoryFormat::ChannelsLast);
  gradient(shape_of(conv), grad.const_data_ptr<float>(),
           static_cast<const uint8_t*>(codes.const_data_ptr()),
           *conv.zero_point.const_data_ptr<int32_t>(), *conv.scale.const_data_ptr<float>(),
           d_weight.mutable_data_ptr<float>(), strides_of(d_weight), in_parallel,
           codes.scalar_type() == at::kChar);
}

depthwise::Shape depthwise_shape(const ConvBackwardArguments& conv) {
  const auto shape = shape_of(conv);
  return {shape.batch,  shape.in_channels, shape.in_size, shape.out_size,
          shape.kernel, shape.stride,      shape.padding};
}

// oneDNN's two passes take 1.0 to 3.4 times as long.
bool takes_depthwise(const ConvBackwardArguments& conv) {
  const bool one_filter_each = conv.groups == conv.codes.size(1) &&
                               conv.groups == conv.weight.size(0) && conv.weight.size(1) == 1;
  return conv.codes.dim() == 4 && one_filter_each && !conv.transposed &&
         conv.weight.is_non_overlapping_and_dense() &&
         pair(conv.dilation) == std::array<int64_t, 2>{1, 1} &&
         depthwise::is_supported(depthwise_shape(conv));
}

// One pass makes both gradients, so that the bits of one do not depend on who wants the other.
// Where one is wanted alone, oneDNN's pass for it may take less (0.5 for 1.3 ms: weight, 960
// channels, 7x7).
void depthwise_gradients(const ConvBackwardArguments& conv, at::Tensor& d_input,
                         at::Tensor& d_weight) {
  ConvBackwardArguments unwanted = conv;
  unwanted.input_grad = !conv.input_grad;
  unwanted.weight_grad = !conv.weight_grad;
  auto [other_input, other_weight] = empty_conv_gradients(unwanted);
  at::Tensor& to_input = conv.input_grad ? d_input : other_input;
  at::Tensor& to_weight = conv.weight_grad ? d_weight : other_weight;
  const at::Tensor grad = conv.grad.to(at::kFloat).contiguous(at::MemoryFormat::ChannelsLast);
  const at::Tensor codes = conv.codes.contiguous(at::MemoryFormat::ChannelsLast);
  const at::Tensor scale = conv.weight_scale.contiguous();
  const auto strides = strides_of(to_weight);
  const depthwise::Operands operands{.grad = grad.const_data_ptr<float>(),
                                     .codes = static_cast<const uint8_t*>(codes.const_data_ptr()),
                                     .codes_are_signed = codes.scalar_type() == at::kChar,
                                     .zero_point = *conv.zero_point.const_data_ptr<int32_t>(),
                                     .input_scale = *conv.scale.const_data_ptr<float>(),
                                     .weight = conv.weight.const_data_ptr<int8_t>(),
                                     .weight_strides = {strides[0], strides[2], strides[3]},
                                     .weight_scale = scale.const_data_ptr<float>()};
  depthwise::backward(depthwise_shape(conv), operands, to_input.mutable_data_ptr<float>(),
                      to_weight.mutable_data_ptr<float>(), in_parallel);
}

void dense_gradients(const ConvBackwardArguments& conv, at::Tensor& d_input, at::Tensor& d_weight) {
  const at::Tensor grad = conv.grad.to(at::kFloat).contiguous(at::MemoryFormat::ChannelsLast);
  const auto shape = shape_of(conv);
  const bool narrow = conv.products == Products::int16 && s16::is_supported(shape);
  const auto data = [](auto&&... arguments) { f32::conv_backward_data(arguments...); };
  const auto data_16 = [](auto&&... arguments) { s16::conv_backward_data(arguments...); };
  const auto weight = [](auto&&... arguments) { f32::conv_backward_weight(arguments...); };
  const auto weight_16 = [](auto&&... arguments) { s16::conv_backward_weight(arguments...); };
  if (conv.input_grad && narrow && !s16::data_prefers_float32(shape)) {
    input_gradient(conv, grad, d_input, data_16);
  } else if (conv.input_grad) {
    input_gradient(conv, grad, d_input, data);
  }
  if (conv.weight_grad && narrow && !s16::weight_prefers_float32(shape)) {
    weight_gradient(conv, grad, d_weight, weight_16);
  } else if (conv.weight_grad) {
    weight_gradient(conv, grad, d_weight, weight);
  }
}

// `result` in the memory order of `place`.
void keep(const at::Tensor& result, at::Tensor& place) {
  if (result.strides() == place.strides() && result.scalar_type() == at::kFloat) {
    place = result;
  } else {
    place.copy_(result);
  }
}

std::tuple<at::Tensor, at::Tensor> conv_int_backward(
    const at::Tensor& grad, const at::Tensor& codes, const at::Tensor& scale,
    const at::Tensor& zero_point, const at::Tensor& weight, const at::Tensor& weight_scale,
    at::IntArrayRef stride, at::IntArrayRef padding, at::IntArrayRef dilation,
    at::IntArrayRef output_padding, int64_t groups, bool transposed, std::string_view products,
    bool input_grad, bool weight_grad) {
  const Products kind = products_of(products);
  const ConvBackwardArguments conv{grad,         codes,      scale,   zero_point, weight,
                                   weight_scale, stride,     padding, dilation,   output_padding,
                                   groups,       transposed, kind,    input_grad, weight_grad};
  check_conv_int_backward(conv);
  auto results = empty_conv_gradients(conv);
  auto& [d_input, d_weight] = results;
  if (grad.numel() == 0 || codes.numel() == 0) return {d_input.zero_(), d_weight.zero_()};
  if (takes_depthwise(conv)) {
    depthwise_gradients(conv, d_input, d_weight);
    return results;
  }
  if (conv.products != Products::bfloat16 && is_dense_2d(conv)) {
    dense_gradients(conv, d_input, d_weight);
    return results;
  }
  const auto wide = conv.products == Products::bfloat16
                        ? conv_backward_bfloat16(conv, input_grad, weight_grad)
                        : conv_backward_float32(conv, input_grad, weight_grad);
  if (input_grad) keep(std::get<0>(wide), d_input);
  if (weight_grad) keep(std::get<1>(wide), d_weight);
  return results;
}

}  // namespace

TORCH_LIBRARY_IMPL(qat_ext, CPU, m) { m.impl("conv_int_backward", &conv_int_backward); }

}  // namespace qat::ops
