#include <ATen/EmptyTensor.h>
#include <torch/library.h>

#include "numerics/requantize.h"
#include "ops/chain.h"

namespace qat::ops {
namespace {

// A per-channel argument, or the value that stands for its absence.
class Channels {
 public:
  Channels(const OptionalTensor& tensor, float otherwise) : otherwise_(otherwise) {
    if (!tensor) return;
    tensor_ = tensor->expect_contiguous();
    data_ = tensor_->const_data_ptr<float>();
  }
  float operator[](int64_t c) const { return data_ == nullptr ? otherwise_ : data_[c]; }

 private:
  c10::MaybeOwned<at::Tensor> tensor_;
  const float* data_ = nullptr;
  float otherwise_;
};

std::tuple<at::Tensor, at::Tensor> fold_batch_norm(
    const OptionalTensor& multiplier, const OptionalTensor& bias, const OptionalTensor& gamma,
    const OptionalTensor& beta, const at::Tensor& mean, const at::Tensor& variance, double eps) {
  check_fold_batch_norm(multiplier, bias, gamma, beta, mean, variance, eps);
  const Channels m(multiplier, 1.0f), b(bias, 0.0f), g(gamma, 1.0f), be(beta, 0.0f);
  const Channels mu(mean, 0.0f), var(variance, 0.0f);
  const at::Tensor folded_multiplier = at::detail::empty_cpu(mean.sizes(), at::kFloat);
  const at::Tensor folded_bias = at::detail::empty_cpu(mean.sizes(), at::kFloat);
  float* to_multiplier = folded_multiplier.mutable_data_ptr<float>();
  float* to_bias = folded_bias.mutable_data_ptr<float>();
  for (int64_t c = 0; c < mean.numel(); ++c) {
    const auto folded = numerics::fold_batch_norm(m[c], b[c], {g[c], be[c], mu[c], var[c]},
                                                  static_cast<float>(eps));
    to_multiplier[c] = folded.multiplier;
    to_bias[c] = folded.bias;
  }
  return {folded_multiplier, folded_bias};
}

}  // namespace

TORCH_LIBRARY_IMPL(qat_ext, CPU, m) { m.impl("fold_batch_norm", &fold_batch_norm); }

}  // namespace qat::ops
