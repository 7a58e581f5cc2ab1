// The loss that keeps weights from oscillating, over the weights of the latest training forward.

#include <ATen/TensorOperators.h>
#include <ATen/ops/zeros.h>

#include <algorithm>

#include "error.h"
#include "insert/engine.h"
#include "quantizers/oscillation.h"

namespace qat {

void Engine::keep_weights(insert::Session& session) {
  if (recipe.oscillation.damping == 0.0) return;
  used_weights_.emplace();
  const int lowest = progress().weight_bits;
  session.weight_probe = [this, lowest](int entry, const at::Tensor& weight,
                                        const QuantizedWeight& quantized) {
    WeightRecipe used = weights.recipe(entry);
    if (lowest > used.bits) used = used.with_bits(lowest);
    used_weights_->insert_or_assign(entry, UsedWeight{weight, quantized, used.code_format()});
  };
}

at::Tensor Engine::oscillation_loss() const {
  const double factor = damping_at(recipe.oscillation, progress().fraction);
  if (recipe.oscillation.damping > 0.0 && !used_weights_) {
    throw Error(
        "oscillation_loss: no training forward has run; call the model in train() first, then add "
        "the result to the loss of its outputs.");
  }
  at::Tensor sum = at::zeros({}, at::kFloat);
  if (factor == 0.0) return sum;
  for (const auto& [entry, used] : *used_weights_) {
    sum = sum + distance_to_codes(used.weight, used.quantized, weights.shape(entry), used.format);
  }
  return sum * factor;
}

}  // namespace qat
