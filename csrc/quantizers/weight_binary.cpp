// binary: -1 and 1 times the mean magnitude of the channel (XNOR-Net, Rastegari et al. 2016); zero
// counts as 1. The gradient passes straight through.

#include <ATen/TensorOperators.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/where.h>

#include "quantizers/scaled_edge.h"
#include "quantizers/weight_common.h"

namespace qat::quantizers {
namespace {

class Binary final : public WeightQuantizer {
 public:
  Binary(WeightRecipe recipe, WeightShape shape)
      : recipe_(std::move(recipe)), shape_(std::move(shape)) {}

  WeightOutcome quantize(const at::Tensor& weight, WeightMode) const override {
    const at::Tensor w = weight.detach();
    at::Tensor mean = channel_mean_magnitude(w, shape_);
    if (recipe_.granularity == Granularity::tensor) mean = mean.mean().expand(mean.sizes());
    const at::Tensor one = at::full_like(w, 1, w.options().dtype(at::kChar));
    return {{at::where(w < 0, -one, one), positive_scale(mean)}, weight};
  }

 private:
  WeightRecipe recipe_;
  WeightShape shape_;
};

std::string obstacle(const WeightRecipe& recipe) {
  if (recipe.bits != 2) {
    return "has the codes -1 and 1, kept in two bits; expected bits: 2, got " +
           std::to_string(recipe.bits);
  }
  if (recipe.power_of_two) return "takes its scale from the weights; power_of_two must be false";
  return rounding_obstacle(recipe);
}

const bool registered =
    register_weight_method({"binary",
                            [](const WeightRecipe& recipe, const WeightShape& shape) {
                              return std::make_unique<Binary>(recipe, shape);
                            },
                            &obstacle});

}  // namespace
}  // namespace qat::quantizers
