#pragma once
// What weight quantizers share.

#include <ATen/core/Tensor.h>

#include <string>

#include "quantizers/weight_quantizer.h"

namespace qat::quantizers {

// float32[C], C the output channels: the largest, or the mean magnitude of each.
at::Tensor channel_absmax(const at::Tensor& weight, const WeightShape& shape);
at::Tensor channel_mean_magnitude(const at::Tensor& weight, const WeightShape& shape);

// float32[C, K], a channel's weights row-major; and codes in that order shaped like the weight.
at::Tensor channel_rows(const at::Tensor& weight, const WeightShape& shape);
at::Tensor from_channel_rows(const at::Tensor& rows, const WeightShape& shape);

// One value per channel, spread over a tensor shaped like the weight (a view).
at::Tensor spread(const at::Tensor& per_channel, const WeightShape& shape);

// scale: float32[C]; codes by rule 2 with zero point 0.
at::Tensor codes_of(const at::Tensor& weight, const at::Tensor& scale, const WeightShape& shape,
                    numerics::IntFormat format);
// The same, rounded up with the probability of what is behind the point.
at::Tensor stochastic_codes(const at::Tensor& weight, const at::Tensor& scale,
                            const WeightShape& shape, numerics::IntFormat format);

// Nearest codes, stochastic ones, or nearest ones of which a random share keeps 8 bits (in the
// manner of Quant-Noise, Fan et al. 2021), as the recipe says for this mode.
QuantizedWeight rounded_weight(const at::Tensor& weight, const at::Tensor& scale,
                               const WeightShape& shape, const WeightRecipe& recipe,
                               WeightMode mode);
// Noise is between 8 bits and fewer. Empty: the recipe can be followed.
std::string narrowing_obstacle(const WeightRecipe& recipe);
// Why a method that rounds in its own way cannot follow the recipe; empty when it can.
std::string rounding_obstacle(const WeightRecipe& recipe);

// A tensor with the weight's values whose gradient goes to weight and scale by rule 13.
// edge: carries the gradient of the scale, float32[C] or [1].
at::Tensor learned_weight(const at::Tensor& weight, const at::Tensor& edge, const at::Tensor& scale,
                          const WeightShape& shape, numerics::IntFormat format);
// The same with a scale that is no parameter: zero where the code is clipped (rule 4).
at::Tensor masked_weight(const at::Tensor& weight, const at::Tensor& scale,
                         const WeightShape& shape, numerics::IntFormat format);

// The recipe as the stage of the schedule leaves it (Note [Bits in stages]).
WeightRecipe in_stage(WeightRecipe recipe, WeightMode mode);

// Rule 5 for each channel of a symmetric weight.
at::Tensor weight_scales(const at::Tensor& absmax, const WeightRecipe& recipe);

// Per tensor: the largest for all.
at::Tensor by_granularity(const at::Tensor& absmax, const WeightRecipe& recipe);

// 1 / sqrt(elements per scale * quant_max), the gradient scale of LSQ (Esser et al. 2020).
double lsq_gradient_scale(const WeightShape& shape, const WeightRecipe& recipe);

}  // namespace qat::quantizers
