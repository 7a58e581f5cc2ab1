#include <torch/library.h>

#include "ops/conv_arguments.h"

namespace qat::ops {
namespace {

at::Tensor conv_int(const at::Tensor& codes, int64_t zero_point, const at::Tensor& weight,
                    at::IntArrayRef stride, at::IntArrayRef padding, at::IntArrayRef dilation,
                    at::IntArrayRef output_padding, int64_t groups, bool transposed) {
  const ConvArguments conv{codes,    zero_point,     weight, stride,    padding,
                           dilation, output_padding, groups, transposed};
  check_conv_int(conv);
  return empty_conv_output(conv);
}

}  // namespace

TORCH_LIBRARY_IMPL(qat_ext, Meta, m) { m.impl("conv_int", &conv_int); }

}  // namespace qat::ops
