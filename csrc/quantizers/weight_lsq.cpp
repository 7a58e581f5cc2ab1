// lsq: learned step size (Esser et al., ICLR 2020). The scale is a parameter, started at
// 2 mean|w| / sqrt(quant_max); its gradient is rule 13's times 1 / sqrt(elements * quant_max).

#include <ATen/TensorOperators.h>
#include <ATen/ops/abs.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/sqrt.h>

#include <cmath>

#include "quantizers/scaled_edge.h"
#include "quantizers/weight_common.h"

namespace qat::quantizers {
namespace {

class Lsq final : public WeightQuantizer {
 public:
  Lsq(WeightRecipe recipe, WeightShape shape)
      : recipe_(std::move(recipe)), shape_(std::move(shape)) {
    const bool per_channel = recipe_.granularity == Granularity::channel;
    scale_ = at::ones({per_channel ? shape_.channels() : 1}, at::kFloat).requires_grad_();
  }

  void initialize(const at::Tensor& weight) override {
    at::Tensor mean = channel_mean_magnitude(weight, shape_);
    if (scale_.numel() == 1) mean = mean.mean().reshape({1});
    scale_.copy_(positive_scale(mean * (2.0 / std::sqrt(recipe_.format().quant_max()))));
  }

  WeightOutcome quantize(const at::Tensor& weight, WeightMode mode) const override {
    const WeightRecipe now = in_stage(recipe_, mode);
    const auto finer = static_cast<float>(static_cast<double>(recipe_.format().quant_max()) /
                                          now.format().quant_max());
    const at::Tensor value = positive_scale(scale_.detach() * finer);
    const at::Tensor scale = value.expand({shape_.channels()}).contiguous();
    const QuantizedWeight made{codes_of(weight, scale, shape_, now.format()), scale};
    if (!mode.learn) return {made, masked_weight(weight, scale, shape_, now.format())};
    const double share = lsq_gradient_scale(shape_, now) * finer;
    const at::Tensor edge = scaled_edge(scale_, value, positive_scale_slope(scale_) * share);
    return {made, learned_weight(weight, edge, scale, shape_, now.format())};
  }

  NamedTensors state() const override { return {{"scale", scale_}}; }
  at::Tensor learned_scale() const override { return scale_.detach().abs(); }

 private:
  WeightRecipe recipe_;
  WeightShape shape_;
  at::Tensor scale_;  // float32[C] or [1]
};

std::string obstacle(const WeightRecipe& recipe) {
  if (recipe.power_of_two) return "learns a free scale; use tqt for powers of two";
  return rounding_obstacle(recipe);
}

const bool registered =
    register_weight_method({"lsq",
                            [](const WeightRecipe& recipe, const WeightShape& shape) {
                              return std::make_unique<Lsq>(recipe, shape);
                            },
                            &obstacle});

}  // namespace
}  // namespace qat::quantizers
