// lsq: the scale is a parameter (Esser et al., ICLR 2020), the zero point stays as calibrated.
// lsq_plus: the zero point is one as well (Bhalgat et al., CVPRW 2020). Gradients are rule 13's
// times 1 / sqrt(elements of a sample * largest code).

#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>

#include "numerics/learned.h"
#include "quantizers/learned_range.h"
#include "quantizers/scaled_edge.h"

namespace qat::quantizers {
namespace {

class Lsq final : public LearnedRange {
 public:
  Lsq(const ActivationRecipe& recipe, bool learns_zero_point)
      : format_(recipe.format()),
        learns_zero_point_(learns_zero_point),
        scale_(at::ones({1}, at::kFloat).requires_grad_()),
        zero_point_(at::zeros({1}, at::kFloat).requires_grad_(learns_zero_point)) {}

  void initialize(numerics::QuantParams calibrated) override {
    scale_.fill_(calibrated.scale);
    zero_point_.fill_(calibrated.zero_point);
  }

  numerics::QuantParams params(numerics::IntFormat now) const override {
    const auto finer = static_cast<float>(1.0 / times_finer(now, format_));
    return {numerics::positive_scale(scale_.item<float>() * finer),
            zero_code(zero_point_.item<float>(), times_finer(now, format_), now)};
  }

  RangeEdges edges(int64_t elements, numerics::IntFormat now) const override {
    const double times = times_finer(now, format_);
    const double count = static_cast<double>(elements) * now.quant_max();
    const double share = 1.0 / std::sqrt(std::max(count, 1.0));
    RangeEdges edges;
    edges.scale = scaled_edge(scale_, positive_scale(scale_.detach() * (1.0 / times)),
                              positive_scale_slope(scale_) * (share / times));
    if (learns_zero_point_) {
      edges.zero_point = scaled_edge(zero_point_, zero_point_.detach() * times,
                                     at::full({1}, share * times, at::kFloat));
    }
    return edges;
  }

  Range range() const override {
    return covered(std::abs(scale_.item<float>()), zero_point_.item<float>(), format_);
  }

  NamedTensors state() const override { return {{"scale", scale_}, {"zero_point", zero_point_}}; }

 private:
  numerics::IntFormat format_;
  bool learns_zero_point_;
  at::Tensor scale_, zero_point_;  // float32[1]
};

std::string no_power_of_two(const ActivationRecipe& recipe) {
  return recipe.power_of_two ? "learns a free scale; use tqt for powers of two" : "";
}

std::string affine_only(const ActivationRecipe& recipe) {
  if (recipe.symmetric) return "learns a zero point; use lsq for symmetric codes";
  return no_power_of_two(recipe);
}

const bool lsq = register_range_method(
    {"lsq", [](const ActivationRecipe& recipe) { return std::make_unique<Lsq>(recipe, false); },
     &no_power_of_two});
const bool lsq_plus = register_range_method(
    {"lsq_plus", [](const ActivationRecipe& recipe) { return std::make_unique<Lsq>(recipe, true); },
     &affine_only});

}  // namespace
}  // namespace qat::quantizers
