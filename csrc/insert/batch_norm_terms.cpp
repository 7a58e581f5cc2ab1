#include "insert/batch_norm_terms.h"

#include <ATen/EmptyTensor.h>

#include "numerics/requantize.h"

namespace qat::insert {
namespace {

bool is_plain(const at::Tensor& tensor) {
  return tensor.scalar_type() == at::kFloat && tensor.is_contiguous();
}

// The values of an optional vector, with what stands for a missing one.
class Vector {
 public:
  Vector(const at::Tensor& tensor, float missing) : missing_(missing) {
    if (tensor.defined()) held_ = is_plain(tensor) ? tensor : tensor.to(at::kFloat).contiguous();
    data_ = held_.defined() ? held_.const_data_ptr<float>() : nullptr;
  }
  float operator[](int64_t c) const { return data_ != nullptr ? data_[c] : missing_; }

 private:
  at::Tensor held_;
  const float* data_;
  float missing_;
};

}  // namespace

BatchNormTerms batch_norm_terms(const at::Tensor& multiplier, const at::Tensor& bias,
                                const at::Tensor& gamma, const at::Tensor& mean,
                                const at::Tensor& variance, double eps) {
  const Vector m(multiplier, 1.0f), b(bias, 0.0f), g(gamma, 1.0f), mu(mean, 0.0f), var(variance, 1);
  const int64_t channels = mean.numel();
  const auto vector = [&] { return at::Tensor(at::detail::empty_cpu({channels}, at::kFloat)); };
  BatchNormTerms terms{vector(), vector(), vector()};
  auto* multipliers = terms.multiplier.mutable_data_ptr<float>();
  auto* biases = terms.bias.mutable_data_ptr<float>();
  auto* gains = terms.gain.mutable_data_ptr<float>();
  const auto epsilon = static_cast<float>(eps);
  for (int64_t c = 0; c < channels; ++c) {
    const float invstd = numerics::batch_norm_gain({1.0f, 0.0f, mu[c], var[c]}, epsilon);
    multipliers[c] = numerics::mul(m[c], invstd);
    biases[c] = numerics::mul(numerics::add(b[c], -mu[c]), invstd);
    gains[c] = numerics::mul(g[c], invstd);
  }
  return terms;
}

}  // namespace qat::insert
