#pragma once
// Weights that jump between two codes (Nagel et al., Overcoming Oscillations in Quantization-Aware
// Training, ICML 2022).

#include <ATen/core/Tensor.h>

#include <memory>

#include "quantizers/weight_quantizer.h"

namespace qat {

// Throws qat::Error naming the keys that cannot be had together.
void check_oscillation(const Recipe& recipe);

// Note [Frozen codes]
// A weight oscillates in a training forward when its code changes in the direction opposite to its
// last change. The share of such forwards is a running mean with `momentum`; above `freeze` the
// weight keeps, from then on and in the integer model, the code that is nearest to the running mean
// of its codes. The code is kept, not the weight, so that a scale that moves does not change it.
// Counting begins when the last stage of bits is reached, for codes of different formats do not
// compare, and only forwards count whose weight differs from that of the one before: those of
// accumulated gradients and recomputed ones do not. A frozen weight gets no gradient and
// contributes none to the scale. A weight that is exactly zero (held there by pruning) has the code
// 0 whatever was frozen.
std::unique_ptr<WeightQuantizer> freeze_oscillations(std::unique_ptr<WeightQuantizer> method,
                                                     const OscillationRecipe& recipe,
                                                     const WeightRecipe& weight,
                                                     const WeightShape& shape);

// sum (w_hat - clip(w, s * quant_min, s * quant_max))^2 with w_hat and s as constants: float32,
// 0-d, differentiable with respect to `weight`.
at::Tensor distance_to_codes(const at::Tensor& weight, const QuantizedWeight& quantized,
                             const WeightShape& shape, numerics::IntFormat format);

// The weight of that sum at a share of the steps: damping * (1 - cos(pi * fraction)) / 2.
double damping_at(const OscillationRecipe& recipe, double fraction);

}  // namespace qat
