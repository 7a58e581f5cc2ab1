#include <ATen/ops/linear.h>
#include <torch/library.h>

#include "ops/conv_arguments.h"
#include "ops/cpu/codes.h"
#include "ops/cpu/onednn.h"

namespace qat::ops {
namespace {

at::Tensor linear_int(const at::Tensor& codes, int64_t zero_point, const at::Tensor& weight) {
  check_linear_int(codes, zero_point, weight);
  auto out = empty_linear_output(codes, weight);
  if (out.numel() == 0) return out;
  if (codes.numel() == 0) return out.zero_();
  if (weight.size(1) <= onednn::kLongestSum && onednn::linear_is_exact()) {
    const auto rows = as_unsigned(codes).reshape({-1, weight.size(1)}).contiguous();
    return onednn::linear(rows, as_unsigned(codes, zero_point), weight).view(out.sizes());
  }
  return out.copy_(at::linear(centred(codes, zero_point), weight.to(at::kDouble)));
}

}  // namespace

TORCH_LIBRARY_IMPL(qat_ext, CPU, m) { m.impl("linear_int", &linear_int); }

}  // namespace qat::ops
