#include "quantizers/oscillation.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/clamp.h>
#include <ATen/ops/full.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cmath>
#include <functional>
#include <numbers>
#include <optional>
#include <string_view>

#include "error.h"
#include "numerics/arith.h"
#include "quantizers/weight_common.h"

namespace qat {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr int8_t kNoCode = -128;  // codes of 8 bits are narrow

// Passes the gradient on where `moves` is true; the values are never read.
struct MovingWeight : torch::autograd::Function<MovingWeight> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& weight,
                            const at::Tensor& moves) {
    ctx->save_for_backward({moves});
    return at::zeros({}, weight.options()).expand(weight.sizes());
  }
  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    return {grads[0] * ctx->get_saved_variables()[0], at::Tensor()};
  }
};

class Freezing final : public WeightQuantizer {
 public:
  Freezing(std::unique_ptr<WeightQuantizer> method, const OscillationRecipe& recipe,
           const WeightRecipe& weight, const WeightShape& shape)
      : method_(std::move(method)),
        threshold_(static_cast<float>(recipe.freeze)),
        momentum_(static_cast<float>(recipe.momentum)),
        bits_(weight.bits),
        frozen_(at::full(shape.sizes, kNoCode, at::kChar)),
        last_code_(at::full(shape.sizes, kNoCode, at::kChar)),
        last_direction_(at::zeros(shape.sizes, at::kChar)),
        mean_code_(at::zeros(shape.sizes, at::kFloat)),
        frequency_(at::zeros(shape.sizes, at::kFloat)) {}

  void initialize(const at::Tensor& weight) override { method_->initialize(weight); }

  WeightOutcome quantize(const at::Tensor& weight, WeightMode mode) const override {
    WeightOutcome outcome = method_->quantize(weight, mode);
    if (mode.lowest_bits > bits_) return outcome;
    if (mode.track && has_moved(weight)) track(outcome.quantized.codes.contiguous());
    const at::Tensor moves = frozen_ == kNoCode;
    if (moves.all().item<bool>()) return outcome;
    at::Tensor& codes = outcome.quantized.codes;
    codes = at::where(moves.logical_or(weight.detach() == 0), codes, frozen_);
    outcome.differentiable = MovingWeight::apply(outcome.differentiable, moves);
    return outcome;
  }

  NamedTensors state() const override {
    NamedTensors all = method_->state();
    all.insert(all.end(), {{"frozen_code", frozen_},
                           {"last_code", last_code_},
                           {"last_direction", last_direction_},
                           {"mean_code", mean_code_},
                           {"oscillation", frequency_}});
    return all;
  }
  at::Tensor learned_scale() const override { return method_->learned_scale(); }

 private:
  // Whether the weight differs from the one that was tracked last. Its version does not say so: the
  // optimizers of LibTorch write through data().
  bool has_moved(const at::Tensor& weight) const {
    const at::Tensor dense = weight.detach().contiguous();
    const std::string_view bytes(static_cast<const char*>(dense.const_data_ptr()), dense.nbytes());
    const size_t hash = std::hash<std::string_view>{}(bytes);
    const bool moved = hash != seen_;
    seen_ = hash;
    return moved;
  }

  void track(const at::Tensor& codes) const {
    const auto* code = codes.const_data_ptr<int8_t>();
    auto* last = last_code_.mutable_data_ptr<int8_t>();
    auto* direction = last_direction_.mutable_data_ptr<int8_t>();
    auto* frozen = frozen_.mutable_data_ptr<int8_t>();
    auto* mean = mean_code_.mutable_data_ptr<float>();
    auto* frequency = frequency_.mutable_data_ptr<float>();
    at::parallel_for(0, codes.numel(), 1 << 14, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const bool first = last[i] == kNoCode;
        const int change = first ? 0 : code[i] - last[i];
        const int sign = (change > 0) - (change < 0);
        const bool reversed = sign * direction[i] < 0;
        mean[i] = first ? code[i] : momentum_ * code[i] + (1.0f - momentum_) * mean[i];
        frequency[i] = (reversed ? momentum_ : 0.0f) + (1.0f - momentum_) * frequency[i];
        if (sign != 0) direction[i] = static_cast<int8_t>(sign);
        last[i] = code[i];
        if (frozen[i] == kNoCode && frequency[i] > threshold_) {
          frozen[i] = static_cast<int8_t>(numerics::round_half_even(mean[i]));
        }
      }
    });
  }

  std::unique_ptr<WeightQuantizer> method_;
  float threshold_, momentum_;
  int bits_;
  // Shaped like the weight. frozen_, last_code_: int8, kNoCode where there is none yet;
  // last_direction_: int8, -1 or 1, 0 before the first change; the means are float32.
  at::Tensor frozen_, last_code_, last_direction_, mean_code_, frequency_;
  mutable std::optional<size_t> seen_;  // hash of the weight that was tracked last
};

// Whether the method's codes are the weight's multiples of a scale, rounded to nearest.
bool rounds_to_nearest(const std::string& method) {
  return method == "absmax" || method == "mse" || method == "lsq" || method == "tqt";
}

void check_weight(const OscillationRecipe& oscillation, const WeightRecipe& weight,
                  const std::string& path) {
  const bool random = weight.rounding == Rounding::stochastic || weight.noise > 0.0;
  if (random && (oscillation.freeze > 0.0 || oscillation.damping > 0.0)) {
    throw Error(path +
                ": random rounding cannot go with recipe.oscillation, which watches how "
                "codes change; set rounding: nearest and noise: 0");
  }
  if (oscillation.freeze > 0.0 && weight.in_groups()) {
    throw Error(path + (weight.symmetric ? ".granularity: group" : ".symmetric: false") +
                " cannot go with recipe.oscillation.freeze: a frozen code may lie between the "
                "codes of its group or channel; set oscillation.freeze: 0");
  }
  if (oscillation.damping > 0.0 && !rounds_to_nearest(weight.method)) {
    throw Error(path + ": method " + weight.method +
                " cannot go with recipe.oscillation.damping, which pulls a weight to a multiple of "
                "its scale; take absmax, mse, lsq or tqt, or set oscillation.freeze");
  }
}

}  // namespace

void check_oscillation(const Recipe& recipe) {
  const OscillationRecipe& oscillation = recipe.oscillation;
  if (oscillation.freeze == 0.0 && oscillation.damping == 0.0) return;
  check_weight(oscillation, recipe.weights, "recipe.weights");
  for (size_t i = 0; i < recipe.rules.size(); ++i) {
    const SiteRule& rule = recipe.rules[i];
    if (rule.keep_float || !rule.weight_method) continue;
    check_weight(oscillation, rule.apply(recipe.weights),
                 "recipe.rules[" + std::to_string(i) + "]");
  }
}

std::unique_ptr<WeightQuantizer> freeze_oscillations(std::unique_ptr<WeightQuantizer> method,
                                                     const OscillationRecipe& recipe,
                                                     const WeightRecipe& weight,
                                                     const WeightShape& shape) {
  return std::make_unique<Freezing>(std::move(method), recipe, weight, shape);
}

at::Tensor distance_to_codes(const at::Tensor& weight, const QuantizedWeight& quantized,
                             const WeightShape& shape, numerics::IntFormat format) {
  const at::Tensor scale = quantizers::spread(quantized.scale, shape);
  const at::Tensor value = quantized.codes.to(at::kFloat) * scale;
  const at::Tensor clipped =
      at::clamp(weight, std::optional<at::Tensor>(scale * format.quant_min()),
                std::optional<at::Tensor>(scale * format.quant_max()));
  return (value - clipped).square().sum();
}

double damping_at(const OscillationRecipe& recipe, double fraction) {
  return recipe.damping * (1.0 - std::cos(std::numbers::pi * fraction)) / 2.0;
}

}  // namespace qat
