// tqt: trained quantization thresholds (Jain et al., MLSys 2020). The parameter is log2 of the
// threshold, the scale 2^ceil(log2 t) / 2^(bits-1), a power of two; the ceiling passes the gradient
// on, so that d scale / d log2 t = scale * ln 2. Started at the largest magnitude.

#include <ATen/TensorOperators.h>
#include <ATen/ops/exp2.h>
#include <ATen/ops/log2.h>
#include <ATen/ops/zeros.h>

#include <cmath>

#include "numerics/qparams.h"
#include "quantizers/scaled_edge.h"
#include "quantizers/weight_common.h"

namespace qat::quantizers {
namespace {

class Tqt final : public WeightQuantizer {
 public:
  Tqt(WeightRecipe recipe, WeightShape shape)
      : recipe_(std::move(recipe)), shape_(std::move(shape)) {
    const bool per_channel = recipe_.granularity == Granularity::channel;
    log2_threshold_ = at::zeros({per_channel ? shape_.channels() : 1}, at::kFloat).requires_grad_();
  }

  void initialize(const at::Tensor& weight) override {
    at::Tensor threshold = channel_absmax(weight, shape_);
    if (log2_threshold_.numel() == 1) threshold = threshold.amax().reshape({1});
    log2_threshold_.copy_(at::log2(threshold.clamp_min(numerics::kMinScale)));
  }

  WeightOutcome quantize(const at::Tensor& weight, WeightMode mode) const override {
    const WeightRecipe now = in_stage(recipe_, mode);
    const auto levels = static_cast<float>(1 << (now.bits - 1));
    const at::Tensor value = power_of_two_scale(log2_threshold_, levels);
    const at::Tensor scale = value.expand({shape_.channels()}).contiguous();
    const QuantizedWeight made{codes_of(weight, scale, shape_, now.format()), scale};
    if (!mode.learn) return {made, masked_weight(weight, scale, shape_, now.format())};
    const at::Tensor edge = scaled_edge(log2_threshold_, value, value * std::log(2.0));
    return {made, learned_weight(weight, edge, scale, shape_, now.format())};
  }

  NamedTensors state() const override { return {{"log2_threshold", log2_threshold_}}; }
  at::Tensor learned_scale() const override { return at::exp2(log2_threshold_.detach()); }

 private:
  WeightRecipe recipe_;
  WeightShape shape_;
  at::Tensor log2_threshold_;  // float32[C] or [1]
};

std::string obstacle(const WeightRecipe& recipe) { return rounding_obstacle(recipe); }

const bool registered =
    register_weight_method({"tqt",
                            [](const WeightRecipe& recipe, const WeightShape& shape) {
                              return std::make_unique<Tqt>(recipe, shape);
                            },
                            &obstacle});

}  // namespace
}  // namespace qat::quantizers
