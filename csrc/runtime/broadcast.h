#pragma once
// Shapes of operands that are repeated along some axes.

#include "runtime/tensors.h"

namespace qat::runtime {

// The shape of a binary operator's result; fails if the operands do not broadcast.
Sizes broadcast_shape(const graph::Node& node, const Sizes& a, const Sizes& b);

// Strides of an operand along the axes of the result: 0 where it is repeated.
Sizes broadcast_strides(const Sizes& operand, const Sizes& shape);

// The elements of a result as rows in which every operand is consecutive or repeated.
struct BroadcastRows {
  Sizes shape;                  // leading axes
  int64_t count = 1, size = 1;  // rows, elements of a row
  std::vector<Sizes> strides;   // per operand, of the leading axes
  Sizes inner;                  // per operand, along a row: 0 or 1

  // strides_by_axis: per operand, from broadcast_strides.
  BroadcastRows(const Sizes& result, const std::vector<Sizes>& strides_by_axis);
  // Where a row of an operand begins.
  int64_t offset(size_t operand, int64_t row) const;
};

}  // namespace qat::runtime
