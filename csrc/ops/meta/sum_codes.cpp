#include <torch/library.h>

#include "ops/conv_arguments.h"

namespace qat::ops {
namespace {

at::Tensor sum_codes(const at::Tensor& codes, int64_t zero_point) {
  check_sum_codes(codes, zero_point);
  return empty_code_sums(codes);
}

}  // namespace

TORCH_LIBRARY_IMPL(qat_ext, Meta, m) { m.impl("sum_codes", &sum_codes); }

}  // namespace qat::ops
