#include <torch/library.h>

#include "ops/conv_arguments.h"

namespace qat::ops {
namespace {

at::Tensor linear_int(const at::Tensor& codes, int64_t zero_point, const at::Tensor& weight) {
  check_linear_int(codes, zero_point, weight);
  return empty_linear_output(codes, weight);
}

}  // namespace

TORCH_LIBRARY_IMPL(qat_ext, Meta, m) { m.impl("linear_int", &linear_int); }

}  // namespace qat::ops
