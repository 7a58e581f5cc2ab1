#include <ATen/ops/empty.h>
#include <torch/library.h>

#include "ops/chain.h"

namespace qat::ops {
namespace {

std::tuple<at::Tensor, at::Tensor> fold_batch_norm(
    const OptionalTensor& multiplier, const OptionalTensor& bias, const OptionalTensor& gamma,
    const OptionalTensor& beta, const at::Tensor& mean, const at::Tensor& variance, double eps) {
  check_fold_batch_norm(multiplier, bias, gamma, beta, mean, variance, eps);
  return {at::empty_symint(mean.sym_sizes(), mean.options()),
          at::empty_symint(mean.sym_sizes(), mean.options())};
}

}  // namespace

TORCH_LIBRARY_IMPL(qat_ext, Meta, m) { m.impl("fold_batch_norm", &fold_batch_norm); }

}  // namespace qat::ops
