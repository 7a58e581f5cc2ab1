// ternary: -1, 0, 1 (ternary weight networks, Li et al. 2016). A weight is zero below 0.7 times the
// mean magnitude of its channel; the scale is the mean magnitude of the others.

#include <ATen/TensorOperators.h>
#include <ATen/ops/abs.h>
#include <ATen/ops/sign.h>
#include <ATen/ops/where.h>

#include "quantizers/scaled_edge.h"
#include "quantizers/weight_common.h"

namespace qat::quantizers {
namespace {

constexpr double kThreshold = 0.7;

class Ternary final : public WeightQuantizer {
 public:
  Ternary(WeightRecipe recipe, WeightShape shape)
      : recipe_(std::move(recipe)), shape_(std::move(shape)) {}

  WeightOutcome quantize(const at::Tensor& weight, WeightMode) const override {
    const at::Tensor w = weight.detach();
    const at::Tensor threshold = kThreshold * mean_magnitude(w);
    const at::Tensor kept = (w.abs() > spread(threshold, shape_)).to(at::kFloat);
    const at::Tensor share = mean_magnitude(kept);
    const at::Tensor sum = mean_magnitude(w * kept);
    // A channel of zeros keeps nothing.
    const at::Tensor scale = positive_scale(at::where(share > 0, sum / share, share));
    return {{(at::sign(w) * kept).to(at::kChar), scale}, weight};
  }

 private:
  at::Tensor mean_magnitude(const at::Tensor& values) const {
    const at::Tensor mean = channel_mean_magnitude(values, shape_);
    if (recipe_.granularity == Granularity::channel) return mean;
    return mean.mean().expand(mean.sizes()).contiguous();
  }

  WeightRecipe recipe_;
  WeightShape shape_;
};

std::string obstacle(const WeightRecipe& recipe) {
  if (recipe.bits != 2) {
    return "has the codes -1, 0 and 1; expected bits: 2, got " + std::to_string(recipe.bits);
  }
  if (recipe.power_of_two) return "takes its scale from the weights; power_of_two must be false";
  return rounding_obstacle(recipe);
}

const bool registered =
    register_weight_method({"ternary",
                            [](const WeightRecipe& recipe, const WeightShape& shape) {
                              return std::make_unique<Ternary>(recipe, shape);
                            },
                            &obstacle});

}  // namespace
}  // namespace qat::quantizers
