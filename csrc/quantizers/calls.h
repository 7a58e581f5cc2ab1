#pragma once
// Typed calls of the operators that quantizers are made of.

#include <ATen/core/Tensor.h>

#include <vector>

#include "numerics/format.h"
#include "quantizers/weight_quantizer.h"

namespace qat::quantizers::call {

// axis -1: one scale; otherwise one per index of the axis. zero_point: int32, shaped like scale.
at::Tensor quantize(const at::Tensor& x, const at::Tensor& scale, const at::Tensor& zero_point,
                    int64_t axis, numerics::IntFormat format);

QuantizedWeight quantize_weight(const at::Tensor& weight, const PlainWeight& options);

// The same for many weights in one pass.
std::vector<QuantizedWeight> quantize_weights(const std::vector<at::Tensor>& weights,
                                              const std::vector<PlainWeight>& options);

struct LearnedGradients {
  at::Tensor x, scale, zero_point;
};

// Rule 13. zero_point: float32, shaped like scale.
LearnedGradients fake_quantize_learned_backward(const at::Tensor& grad, const at::Tensor& x,
                                                const at::Tensor& scale,
                                                const at::Tensor& zero_point, int64_t axis,
                                                numerics::IntFormat format,
                                                bool clipped_only = false);

at::Tensor fake_quantize_backward(const at::Tensor& grad, const at::Tensor& x,
                                  const at::Tensor& scale, const at::Tensor& zero_point,
                                  int64_t axis, numerics::IntFormat format);

}  // namespace qat::quantizers::call
