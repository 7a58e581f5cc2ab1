#include "runtime/broadcast.h"

#include <algorithm>

namespace qat::runtime {

Sizes broadcast_shape(const graph::Node& node, const Sizes& a, const Sizes& b) {
  Sizes shape(std::max(a.size(), b.size()), 1);
  for (size_t i = 0; i < shape.size(); ++i) {
    const int64_t from_a = i < a.size() ? a[a.size() - 1 - i] : 1;
    const int64_t from_b = i < b.size() ? b[b.size() - 1 - i] : 1;
    if (from_a != from_b && from_a != 1 && from_b != 1) {
      fail(node, "shapes " + to_string(a) + " and " + to_string(b) + " do not broadcast");
    }
    shape[shape.size() - 1 - i] = from_a == 1 ? from_b : from_a;
  }
  return shape;
}

Sizes broadcast_strides(const Sizes& operand, const Sizes& shape) {
  const Sizes own = row_major_strides(operand);
  Sizes strides(shape.size(), 0);
  const size_t lead = shape.size() - operand.size();
  for (size_t i = 0; i < operand.size(); ++i) strides[lead + i] = operand[i] == 1 ? 0 : own[i];
  return strides;
}

// Merges an axis with its neighbour where all operands go on in one stride.
BroadcastRows::BroadcastRows(const Sizes& result, const std::vector<Sizes>& strides_by_axis) {
  const size_t operands = strides_by_axis.size();
  strides.resize(operands);
  for (size_t axis = 0; axis < result.size(); ++axis) {
    if (result[axis] == 1) continue;
    bool merges = !shape.empty();
    for (size_t i = 0; merges && i < operands; ++i) {
      merges = strides[i].back() == strides_by_axis[i][axis] * result[axis];
    }
    if (!merges) shape.push_back(1);
    shape.back() *= result[axis];
    for (size_t i = 0; i < operands; ++i) {
      if (!merges) strides[i].push_back(0);
      strides[i].back() = strides_by_axis[i][axis];
    }
  }
  inner.assign(operands, 0);
  if (shape.empty()) return;
  size = shape.back();
  shape.pop_back();
  for (size_t i = 0; i < operands; ++i) {
    inner[i] = strides[i].back();
    strides[i].pop_back();
  }
  count = product(shape);
}

int64_t BroadcastRows::offset(size_t operand, int64_t row) const {
  int64_t offset = 0;
  for (size_t axis = shape.size(); axis-- > 0; row /= shape[axis]) {
    offset += row % shape[axis] * strides[operand][axis];
  }
  return offset;
}

}  // namespace qat::runtime
