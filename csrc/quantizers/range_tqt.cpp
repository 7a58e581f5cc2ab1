// tqt: trained quantization thresholds (Jain et al., MLSys 2020). The parameter is log2 of the
// threshold; the scale is the power of two 2^ceil(log2 t) / levels with levels = 2^(bits-1) for
// signed and 2^bits for unsigned codes. The ceiling passes the gradient on: d scale / d log2 t =
// scale * ln 2. The zero point stays as calibrated; the paper's is 0.

#include <ATen/TensorOperators.h>
#include <ATen/ops/zeros.h>

#include <cmath>

#include "quantizers/learned_range.h"
#include "quantizers/scaled_edge.h"

namespace qat::quantizers {
namespace {

class Tqt final : public LearnedRange {
 public:
  explicit Tqt(const ActivationRecipe& recipe)
      : format_(recipe.format()),
        log2_threshold_(at::zeros({1}, at::kFloat).requires_grad_()),
        zero_point_(at::zeros({1}, at::kFloat)) {}

  void initialize(numerics::QuantParams calibrated) override {
    log2_threshold_.fill_(std::log2(static_cast<double>(calibrated.scale) * levels(format_)));
    zero_point_.fill_(calibrated.zero_point);
  }

  numerics::QuantParams params(numerics::IntFormat now) const override {
    return {power_of_two_scale(log2_threshold_, levels(now)).item<float>(),
            zero_code(zero_point_.item<float>(), levels(now) / levels(format_), now)};
  }

  RangeEdges edges(int64_t, numerics::IntFormat now) const override {
    const at::Tensor scale = power_of_two_scale(log2_threshold_, levels(now));
    RangeEdges edges;
    edges.scale = scaled_edge(log2_threshold_, scale, scale * std::log(2.0));
    return edges;
  }

  Range range() const override {
    const double scale = std::exp2(double{log2_threshold_.item<float>()}) / levels(format_);
    return covered(scale, zero_point_.item<float>(), format_);
  }

  NamedTensors state() const override {
    return {{"log2_threshold", log2_threshold_}, {"zero_point", zero_point_}};
  }

 private:
  static float levels(numerics::IntFormat format) {
    return static_cast<float>(1 << (format.is_signed ? format.bits - 1 : format.bits));
  }

  numerics::IntFormat format_;
  at::Tensor log2_threshold_, zero_point_;  // float32[1]
};

const bool registered = register_range_method(
    {"tqt", [](const ActivationRecipe& recipe) { return std::make_unique<Tqt>(recipe); }, {}});

}  // namespace
}  // namespace qat::quantizers
