// absmax: the scale reaches the largest magnitude (rule 5), so that nothing is clipped and the
// gradient passes straight through. With rounding: stochastic a training step rounds up with the
// probability of the remainder (Gupta et al. 2015).

#include "quantizers/calls.h"
#include "quantizers/weight_common.h"
#include "quantizers/weight_grouped.h"

namespace qat::quantizers {
namespace {

class Absmax final : public WeightQuantizer {
 public:
  Absmax(WeightRecipe recipe, WeightShape shape)
      : recipe_(std::move(recipe)), shape_(std::move(shape)) {}

  WeightOutcome quantize(const at::Tensor& weight, WeightMode mode) const override {
    const QuantizedWeight plain = call::quantize_weight(weight.detach(), options_in(mode));
    if (nearest(mode)) return {plain, weight};
    return {rounded_weight(weight, plain.scale, shape_, in_stage(recipe_, mode), mode), weight};
  }

  std::optional<PlainWeight> plain(WeightMode mode) const override {
    if (!nearest(mode)) return std::nullopt;
    return options_in(mode);
  }

 private:
  bool nearest(WeightMode mode) const {
    return !mode.learn || (recipe_.rounding == Rounding::nearest && recipe_.noise == 0.0);
  }
  PlainWeight options_in(WeightMode mode) const {
    const bool per_channel = recipe_.granularity == Granularity::channel;
    return {per_channel ? shape_.axis : -1, shape_.groups, shape_.channels(),
            in_stage(recipe_, mode).format(), recipe_.power_of_two};
  }

  WeightRecipe recipe_;
  WeightShape shape_;
};

std::unique_ptr<WeightQuantizer> make_absmax(const WeightRecipe& recipe, const WeightShape& shape) {
  if (recipe.in_groups()) return make_grouped_quantizer(recipe, shape);
  return std::make_unique<Absmax>(recipe, shape);
}

const bool registered = register_weight_method({"absmax", &make_absmax, &narrowing_obstacle});

}  // namespace
}  // namespace qat::quantizers
