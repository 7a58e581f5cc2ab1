#pragma once
// What the gradient of a batch norm inside of a chain takes from its statistics.

#include <ATen/core/Tensor.h>

namespace qat::insert {

// x_hat = acc * multiplier[c] + bias[c], and gain = gamma / sqrt(variance + eps); float32[C].
struct BatchNormTerms {
  at::Tensor multiplier, bias, gain;
};

// Of v = acc * multiplier + bias before normalisation; multiplier, bias and gamma may be undefined.
// One loop over C channels: the same as eight tensor operators costs 15 us whatever C is.
BatchNormTerms batch_norm_terms(const at::Tensor& multiplier, const at::Tensor& bias,
                                const at::Tensor& gamma, const at::Tensor& mean,
                                const at::Tensor& variance, double eps);

}  // namespace qat::insert
