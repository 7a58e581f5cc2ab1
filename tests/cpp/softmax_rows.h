#pragma once
// Softmax of a row of logits in double.

#include <ATen/core/Tensor.h>

#include <cmath>
#include <vector>

namespace qat::testing {

using Row = std::vector<double>;

inline Row row(const at::Tensor& values, int64_t index) {
  Row out;
  for (int64_t k = 0; k < values.size(1); ++k) out.push_back(values[index][k].item<double>());
  return out;
}

inline Row softmax(const Row& logits, double temperature = 1.0) {
  double sum = 0;
  Row out;
  for (const double value : logits) sum += std::exp(value / temperature);
  for (const double value : logits) out.push_back(std::exp(value / temperature) / sum);
  return out;
}

}  // namespace qat::testing
