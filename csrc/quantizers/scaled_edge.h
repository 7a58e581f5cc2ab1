#pragma once
// From a learned parameter to what is computed from it on the host.

#include <ATen/core/Tensor.h>

namespace qat::quantizers {

// `value`, computed from the leaf `parameter` outside of autograd; its gradient arrives there times
// `factor`. All float32 of one shape.
at::Tensor scaled_edge(const at::Tensor& parameter, const at::Tensor& value,
                       const at::Tensor& factor);

// Rule 14: scale = limit_scale(|parameter|), which no step of an optimizer makes non-positive.
at::Tensor positive_scale(const at::Tensor& parameter);
// d scale / d parameter: the sign.
at::Tensor positive_scale_slope(const at::Tensor& parameter);

// Rule 14: scale = limit_scale(2^ceil(log2_threshold)) with threshold = scale * levels.
at::Tensor power_of_two_scale(const at::Tensor& log2_threshold, float levels);

}  // namespace qat::quantizers
