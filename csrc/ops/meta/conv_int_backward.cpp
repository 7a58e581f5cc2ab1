#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <torch/library.h>

#include "ops/conv_backward.h"

namespace qat::ops {
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
  return empty_conv_gradients(conv);
}

}  // namespace

TORCH_LIBRARY_IMPL(qat_ext, Meta, m) { m.impl("conv_int_backward", &conv_int_backward); }

}  // namespace qat::ops
