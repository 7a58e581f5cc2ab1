#pragma once
// Rules 8 to 10 on consecutive elements. y may be an operand.

#include <cstdint>

#include "graph/graph.h"

namespace qat::runtime {

void activate_range(const float* x, float* y, int64_t n, numerics::Activation activation);

// Operands with stride 0 are one element for all.
struct Operand {
  const float* values = nullptr;
  int64_t stride = 1;  // 0 or 1
};

// PReLU: leaky_relu with a slope per element.
void prelu_range(const float* x, Operand slope, float* y, int64_t n);
// x * gain + bias.
void affine_range(const float* x, Operand gain, Operand bias, float* y, int64_t n);
void combine_range(graph::Binary op, Operand a, Operand b, float* y, int64_t n);

}  // namespace qat::runtime
