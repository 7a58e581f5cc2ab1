// Float32 products where int16 ones are asked for: tensor cores take no int16.

#include <torch/library.h>

#include "ops/conv_backward.h"
#include "ops/cuda/device.h"

namespace qat::ops::cuda {
namespace {

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
  const OnDeviceOf device(codes);
  auto results = empty_conv_gradients(conv);
  auto [d_input, d_weight] = conv.products == Products::bfloat16
                                 ? conv_backward_bfloat16(conv, input_grad, weight_grad)
                                 : conv_backward_float32(conv, input_grad, weight_grad);
  if (input_grad) std::get<0>(results).copy_(d_input);
  if (weight_grad) std::get<1>(results).copy_(d_weight);
  return results;
}

}  // namespace

TORCH_LIBRARY_IMPL(qat_ext, CUDA, m) { m.impl("conv_int_backward", &conv_int_backward); }

}  // namespace qat::ops::cuda
