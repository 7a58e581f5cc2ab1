#pragma once
// Codes in the form that the exact float64 path wants.

#include <ATen/core/Tensor.h>

namespace qat::ops {

// Sums of float64 integers are exact below 2^53, in any order.
inline at::Tensor centred(const at::Tensor& codes, int64_t zero_point) {
  return codes.to(at::kDouble).sub_(static_cast<double>(zero_point));
}

}  // namespace qat::ops
