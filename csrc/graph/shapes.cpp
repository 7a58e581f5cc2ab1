#include "graph/shapes.h"

#include <algorithm>

namespace qat::graph {
namespace {

// Modulo 2^64, which is enough to compare.
uint64_t wrapped_element_count(const Shape& shape, int64_t batch) {
  uint64_t count = 1;
  for (const Affine size : shape) count *= static_cast<uint64_t>(size.at(batch));
  return count;
}

int64_t floor_divide(int64_t a, int64_t b) { return a / b - (a % b < 0 ? 1 : 0); }

}  // namespace

bool is_allocatable(const Shape& shape) {
  int64_t count = 1;
  for (const Affine size : shape) {
    if (size.per_batch < 0 || size.per_batch > kMaxElements) return false;
    if (size.constant < -kMaxElements || size.constant > kMaxElements) return false;
    const int64_t here = size.at(kSampleBatch);
    if (here < 0 || here > kMaxElements) return false;
    if (here != 0 && count > kMaxElements / here) return false;
    count *= here;
  }
  return true;
}

bool same_element_count(const Shape& a, const Shape& b) {
  // Both counts are polynomials in B of degree 8 at most, so nine points decide.
  for (int64_t batch = kSampleBatch; batch <= kSampleBatch + int64_t{kMaxRank}; ++batch) {
    if (wrapped_element_count(a, batch) != wrapped_element_count(b, batch)) return false;
  }
  return true;
}

std::optional<Shape> broadcast(const Shape& a, const Shape& b) {
  const Affine one{0, 1};
  Shape result(std::max(a.size(), b.size()), one);
  for (size_t i = 0; i < result.size(); ++i) {  // from the last axis
    const Affine left = i < a.size() ? a[a.size() - 1 - i] : one;
    const Affine right = i < b.size() ? b[b.size() - 1 - i] : one;
    if (left != right && left != one && right != one) return std::nullopt;
    result[result.size() - 1 - i] = left == one ? right : left;
  }
  return result;
}

int64_t convolution_size(int64_t input, Window window) { return pool_size(input, window, false); }

int64_t transposed_size(int64_t input, Window window, int64_t output_padding) {
  return (input - 1) * window.stride - 2 * window.padding + window.dilation * (window.kernel - 1) +
         output_padding + 1;
}

int64_t pool_size(int64_t input, Window window, bool ceil_mode) {
  const int64_t last_start = input + 2 * window.padding - window.dilation * (window.kernel - 1) - 1;
  const int64_t rounding = ceil_mode ? window.stride - 1 : 0;
  const int64_t size = floor_divide(last_start + rounding, window.stride) + 1;
  const bool starts_in_right_padding = (size - 1) * window.stride >= input + window.padding;
  return ceil_mode && starts_in_right_padding ? size - 1 : size;
}

}  // namespace qat::graph
