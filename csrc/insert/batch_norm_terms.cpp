#include "insert/batch_norm_terms.h"

#include <ATen/ops/empty.h>

#include "numerics/requantize.h"

namespace qat::insert {
namespace {

// The values of an optional vector, with what stands for a missing one.
class Vector {
 public:
  Vector(const at::Tensor& tensor, float missing) : missing_(missing) {
    if (tensor.defined()) held_ = tensor.detach().to(at::kFloat).contiguous();
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
  const at::Tensor all = at::empty({3, channels}, mean.options().dtype(at::kFloat));
  auto* to = all.mutable_data_ptr<float>();
  const auto epsilon = static_cast<float>(eps);
  for (int64_t c = 0; c < channels; ++c) {
    const float invstd = numerics::batch_norm_gain({1.0f, 0.0f, mu[c], var[c]}, epsilon);
    to[c] = numerics::mul(m[c], invstd);
    to[channels + c] = numerics::mul(numerics::add(b[c], -mu[c]), invstd);
    to[2 * channels + c] = numerics::mul(g[c], invstd);
  }
  return {all.select(0, 0), all.select(0, 1), all.select(0, 2)};
}

}  // namespace qat::insert
