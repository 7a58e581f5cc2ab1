// pact: the clipping level alpha is a parameter (Choi et al. 2018), scale = alpha / (2^bits - 1).
// It learns from the values that it clips: d x_hat / d alpha = 1 there and 0 elsewhere. Where the
// calibrated zero point is not 0, alpha is the width of the range and the end that clips moves by
// its share of it.

#include <ATen/TensorOperators.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>

#include <cmath>

#include "numerics/learned.h"
#include "quantizers/learned_range.h"
#include "quantizers/scaled_edge.h"

namespace qat::quantizers {
namespace {

class Pact final : public LearnedRange {
 public:
  explicit Pact(const ActivationRecipe& recipe)
      : format_(recipe.format()),
        alpha_(at::ones({1}, at::kFloat).requires_grad_()),
        zero_point_(at::zeros({1}, at::kFloat)) {}

  void initialize(numerics::QuantParams calibrated) override {
    alpha_.fill_(calibrated.scale * levels(format_));
    zero_point_.fill_(calibrated.zero_point);
  }

  numerics::QuantParams params(numerics::IntFormat now) const override {
    return {scale(now).item<float>(),
            zero_code(zero_point_.item<float>(), times_finer(now, format_), now)};
  }

  RangeEdges edges(int64_t, numerics::IntFormat now) const override {
    RangeEdges edges;
    edges.scale = scaled_edge(alpha_, scale(now), positive_scale_slope(alpha_).div_(levels(now)));
    edges.clipped_only = true;
    return edges;
  }

  Range range() const override {
    const double scale = std::abs(alpha_.item<float>()) / levels(format_);
    return covered(scale, zero_point_.item<float>(), format_);
  }

  NamedTensors state() const override { return {{"alpha", alpha_}, {"zero_point", zero_point_}}; }

 private:
  static float levels(numerics::IntFormat format) {
    return static_cast<float>(format.quant_max() - format.quant_min());
  }
  at::Tensor scale(numerics::IntFormat now) const {
    return positive_scale(alpha_.detach() / levels(now));
  }

  numerics::IntFormat format_;
  at::Tensor alpha_, zero_point_;  // float32[1]
};

std::string obstacle(const ActivationRecipe& recipe) {
  if (recipe.symmetric) return "clips unsigned codes; use lsq for symmetric ones";
  if (recipe.power_of_two) return "learns a free scale; use tqt for powers of two";
  return {};
}

const bool registered = register_range_method(
    {"pact", [](const ActivationRecipe& recipe) { return std::make_unique<Pact>(recipe); },
     &obstacle});

}  // namespace
}  // namespace qat::quantizers
