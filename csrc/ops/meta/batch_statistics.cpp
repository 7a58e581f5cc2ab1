#include <ATen/ops/empty.h>
#include <torch/library.h>

#include "ops/chain.h"

namespace qat::ops {
namespace {

std::tuple<at::Tensor, at::Tensor> batch_statistics(const at::Tensor& acc,
                                                    const OptionalTensor& multiplier,
                                                    const OptionalTensor& bias, int64_t axis) {
  check_batch_statistics(acc, multiplier, bias, axis);
  const auto channels = acc.sym_size(axis);
  return {at::empty_symint({channels}, acc.options()), at::empty_symint({channels}, acc.options())};
}

}  // namespace

TORCH_LIBRARY_IMPL(qat_ext, Meta, m) { m.impl("batch_statistics", &batch_statistics); }

}  // namespace qat::ops
