// mse: the scale covers the share of the largest magnitude that costs the least squared error. The
// share is searched once for each channel, on the first weight, and kept while the weight trains.

#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/where.h>

#include "quantizers/weight_common.h"

namespace qat::quantizers {
namespace {

constexpr int kLowestShare = 30, kShares = 100;  // hundredths of the largest magnitude

class Mse final : public WeightQuantizer {
 public:
  Mse(WeightRecipe recipe, WeightShape shape)
      : recipe_(std::move(recipe)),
        shape_(std::move(shape)),
        share_(at::ones({shape_.channels()}, at::kFloat)) {}

  void initialize(const at::Tensor& weight) override {
    const at::Tensor absmax = by_granularity(channel_absmax(weight, shape_), recipe_);
    at::Tensor best =
        at::full({shape_.channels()}, std::numeric_limits<double>::infinity(), at::kDouble);
    for (int hundredths = kShares; hundredths >= kLowestShare; --hundredths) {
      const auto share = static_cast<float>(hundredths) / kShares;
      const at::Tensor error = squared_error(weight, weight_scales(absmax * share, recipe_));
      const at::Tensor better = error < best;
      best = at::where(better, error, best);
      share_.copy_(at::where(better, at::full_like(share_, share), share_));
    }
  }

  WeightOutcome quantize(const at::Tensor& weight, WeightMode mode) const override {
    const WeightRecipe now = in_stage(recipe_, mode);
    const at::Tensor absmax = by_granularity(channel_absmax(weight, shape_), recipe_);
    const at::Tensor scale = weight_scales(absmax * share_, now);
    return {rounded_weight(weight, scale, shape_, now, mode),
            masked_weight(weight, scale, shape_, now.format())};
  }

  NamedTensors state() const override { return {{"share", share_}}; }

 private:
  // float64[C]; per tensor the same for all.
  at::Tensor squared_error(const at::Tensor& weight, const at::Tensor& scale) const {
    const at::Tensor codes = codes_of(weight, scale, shape_, recipe_.format());
    const at::Tensor error = weight.to(at::kDouble) - codes * spread(scale, shape_).to(at::kDouble);
    const at::Tensor mean = channel_mean_magnitude(error.square(), shape_);
    if (recipe_.granularity == Granularity::channel) return mean;
    return mean.mean().expand(mean.sizes());
  }

  WeightRecipe recipe_;
  WeightShape shape_;
  at::Tensor share_;  // float32[C]
};

const bool registered =
    register_weight_method({"mse",
                            [](const WeightRecipe& recipe, const WeightShape& shape) {
                              return std::make_unique<Mse>(recipe, shape);
                            },
                            &narrowing_obstacle});

}  // namespace
}  // namespace qat::quantizers
