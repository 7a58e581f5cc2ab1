// dorefa: weights go through tanh and are divided by the largest result (Zhou et al. 2016), so that
// they fill [-1, 1] evenly; the scale is 1 / quant_max for all. The paper's grid of 2^bits levels
// has no zero; integer kernels want one, so the grid here is that of the symmetric codes.

#include <ATen/TensorOperators.h>
#include <ATen/ops/abs.h>
#include <ATen/ops/full.h>
#include <ATen/ops/tanh.h>

#include "numerics/qparams.h"
#include "quantizers/weight_common.h"

namespace qat::quantizers {
namespace {

class Dorefa final : public WeightQuantizer {
 public:
  Dorefa(WeightRecipe recipe, WeightShape shape)
      : recipe_(std::move(recipe)), shape_(std::move(shape)) {}

  WeightOutcome quantize(const at::Tensor& weight, WeightMode mode) const override {
    const WeightRecipe now = in_stage(recipe_, mode);
    const at::Tensor bent = at::tanh(weight);
    const at::Tensor largest = bent.detach().abs().amax().clamp_min(numerics::kMinScale);
    const at::Tensor normalized = bent / largest;
    const at::Tensor one = at::full({shape_.channels()}, 1.0, at::kFloat);
    const at::Tensor scale = weight_scales(one, now);
    return {rounded_weight(normalized, scale, shape_, now, mode), normalized};
  }

 private:
  WeightRecipe recipe_;
  WeightShape shape_;
};

const bool registered =
    register_weight_method({"dorefa",
                            [](const WeightRecipe& recipe, const WeightShape& shape) {
                              return std::make_unique<Dorefa>(recipe, shape);
                            },
                            &narrowing_obstacle});

}  // namespace
}  // namespace qat::quantizers
