#pragma once
// Codes in the form that oneDNN and the exact float64 path want.

#include <ATen/core/Tensor.h>

namespace qat::ops {

// oneDNN takes uint8 only: int8 codes and their zero point both move up by 128.
inline at::Tensor as_unsigned(const at::Tensor& codes) {
  if (codes.scalar_type() == at::kByte) return codes;
  return codes.view(at::kByte).bitwise_xor(128);
}

inline int64_t as_unsigned(const at::Tensor& codes, int64_t zero_point) {
  return codes.scalar_type() == at::kByte ? zero_point : zero_point + 128;
}

// Sums of float64 integers are exact below 2^53, in any order.
inline at::Tensor centred(const at::Tensor& codes, int64_t zero_point) {
  return codes.to(at::kDouble).sub_(static_cast<double>(zero_point));
}

}  // namespace qat::ops
