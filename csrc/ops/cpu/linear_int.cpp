#include <ATen/ops/linear.h>
#include <torch/library.h>

#include "ops/conv_arguments.h"
#include "ops/cpu/codes.h"
#include "ops/cpu/conv_tiles.h"

namespace qat::ops {
namespace {

at::Tensor linear_int(const at::Tensor& codes, int64_t zero_point, const at::Tensor& weight) {
  check_linear_int(codes, zero_point, weight);
  auto out = empty_linear_output(codes, weight);
  if (out.numel() == 0) return out;
  if (codes.numel() == 0) return out.zero_();
  if (tiles::take(weight)) {
    tiles::linear(codes, zero_point, weight, out);
    return out;
  }
  return out.copy_(at::linear(centred(codes, zero_point), weight.to(at::kDouble)));
}

}  // namespace

TORCH_LIBRARY_IMPL(qat_ext, CPU, m) { m.impl("linear_int", &linear_int); }

}  // namespace qat::ops
