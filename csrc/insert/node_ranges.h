#pragma once
// The gradient of the quantizer at a node's end: straight through, or also to learned parameters.

#include <ATen/core/Tensor.h>

#include "insert/nodes.h"

namespace qat::insert {

// What backward needs beside the quantizer's tensors: which of its parameters are learned, and how.
struct QuantizerBackward {
  numerics::IntFormat format;
  bool scale = false, zero_point = false;
  bool clipped_only = false;
  bool learned() const { return scale || zero_point; }
};

QuantizerBackward quantizer_backward_of(const QuantizeTo& to);

struct QuantizerGradients {
  at::Tensor x, scale, zero_point;  // undefined: not wanted
};

// x: what was quantized. scale: float32[1]; zero_point: int32[1].
QuantizerGradients backpropagate(const QuantizerBackward& quantizer, const at::Tensor& grad,
                                 const at::Tensor& x, const at::Tensor& scale,
                                 const at::Tensor& zero_point);

// The same per entry of a table with a gradient of 1: what each element that reads the entry
// contributes. values: float32[n]; undefined where not learned.
QuantizerGradients table_terms(const QuantizeTo& to, const at::Tensor& values);

}  // namespace qat::insert
