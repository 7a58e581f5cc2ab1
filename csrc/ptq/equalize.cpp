// Cross-layer equalization: Nagel, van Baalen, Blankevoort, Welling, "Data-Free Quantization
// Through Weight Equalization and Bias Correction", ICCV 2019, section 4.1.
//
// f(s x) = s f(x) for s > 0 lets a factor per channel move from one layer into the next. With the
// ranges r1 of the first layer's output channels and r2 of the second layer's input channels, s =
// sqrt(r1 / r2) makes both sqrt(r1 r2). Factors are gathered in double and applied once, so that
// every parameter is rounded once however many sweeps there were.

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/maximum.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/where.h>

#include <limits>

#include "capture/channels.h"
#include "error.h"
#include "ptq/layers.h"
#include "ptq/passes.h"
#include "ptq/ptq.h"
#include "quantizers/weight_common.h"

namespace qat::ptq {
namespace {

using capture::Kind;
using capture::TraceNode;
using numerics::ActivationKind;

constexpr int kSweeps = 100;
constexpr double kConverged = 1e-4;  // largest |s - 1| of a sweep that changes nothing any more
constexpr double kDeviations = 3;    // of a normalised value that count as its range

struct Pair {
  const Layer *first, *second;
  int64_t repeat = 1;  // inputs of the second layer per channel of the first (flatten)
  at::Tensor divisor;  // float64[C], all sweeps together
};

// Factors of a layer so far: its output channels and its inputs.
struct Factors {
  at::Tensor out, in;
};

// f(s x) = s f(x) for s > 0.
bool homogeneous(const TraceNode& node) {
  if (node.kind != Kind::activation) return false;
  const auto plain = node.plain_arguments();
  const auto activation = capture::parse_activation({node.op.schema(), plain.data()}, node.stem);
  switch (activation.kind) {
    case ActivationKind::relu:
    case ActivationKind::leaky_relu:
      return true;
    case ActivationKind::clamp:
      return activation.p0 == 0.0f && activation.p1 >= std::numeric_limits<float>::max();
    default:
      return false;
  }
}

class Equalizer {
 public:
  explicit Equalizer(Engine& engine) : engine_(engine), layers_(engine) {
    for (const Layer& layer : layers_.all()) {
      if (auto pair = pair_from(layer)) pairs_.push_back(std::move(*pair));
    }
    for (const Pair& pair : pairs_) {
      for (const Layer* layer : {pair.first, pair.second}) {
        const int64_t inputs =
            layer->transposed() ? layer->shape.sizes[0] : layer->shape.sizes[1] * layer->groups();
        factors_[layer->node] = {at::ones({layer->shape.channels()}, at::kDouble),
                                 at::ones({inputs}, at::kDouble)};
      }
    }
  }

  std::vector<EqualizedPair> run() {
    for (int sweep = 0; sweep < kSweeps; ++sweep) {
      double change = 0;
      for (Pair& pair : pairs_) change = std::max(change, balance(pair));
      if (change < kConverged) break;
    }
    apply();
    std::vector<EqualizedPair> done;
    for (const Pair& pair : pairs_) {
      done.push_back({pair.first->site, pair.second->site, pair.divisor.min().item<double>(),
                      pair.divisor.max().item<double>()});
    }
    return done;
  }

 private:
  int64_t rank(int64_t value) const { return engine_.trace.values[value].rank(); }

  std::optional<Pair> pair_from(const Layer& first) const {
    if (first.batch_norm && !first.batch_norm->gamma.defined()) return std::nullopt;
    const bool image = first.geometry.has_value();
    int64_t value = first.result, repeat = 1;
    while (const auto reader = layers_.readers().only(value)) {
      if (const Layer* second = layers_.at_node(*reader)) {
        const bool both = image == second->geometry.has_value();
        if (second->input != value || (!both && rank(value) != 2)) return std::nullopt;
        return Pair{&first, second, repeat, at::ones({first.shape.channels()}, at::kDouble)};
      }
      const TraceNode& node = engine_.trace.nodes[*reader];
      const auto copies = capture::channels_through(engine_.trace, node, image, homogeneous);
      if (!copies) return std::nullopt;
      repeat *= *copies;
      value = node.outputs[0];
    }
    return std::nullopt;
  }

  // The weight as batch norm scales it, in double.
  at::Tensor folded(const Layer& layer) const {
    const Factors& factors = factors_.at(layer.node);
    at::Tensor out = factors.out;
    if (layer.batch_norm) out = out * layer.batch_norm->gain();
    const at::Tensor weight = layer.weight.detach().to(at::kDouble);
    return weight * spread_outputs(layer, out) * spread_inputs(layer, factors.in);
  }

  // What a channel behind batch norm may reach.
  at::Tensor reach(const Layer& layer) const {
    const BatchNorm& norm = *layer.batch_norm;
    at::Tensor reach = kDeviations * norm.gamma.detach().to(at::kDouble).abs();
    if (norm.beta.defined()) reach = reach + norm.beta.detach().to(at::kDouble).abs();
    return reach * factors_.at(layer.node).out;
  }

  double balance(Pair& pair) {
    const at::Tensor r1 = quantizers::channel_absmax(folded(*pair.first), pair.first->shape);
    const at::Tensor r2 =
        input_absmax(*pair.second, folded(*pair.second)).reshape({-1, pair.repeat}).amax(1);
    at::Tensor divisor = (r1 * r2).sqrt() / r2;
    const at::Tensor usable = (r1 > 0) & (r2 > 0) & divisor.isfinite();
    divisor = at::where(usable, divisor, at::ones_like(divisor));
    if (pair.first->batch_norm) {
      // A channel with a small gamma and a large beta would otherwise widen everybody's range.
      const at::Tensor values = reach(*pair.first);
      divisor = at::maximum(divisor, values / values.max().clamp_min(1e-300));
    }
    pair.divisor = pair.divisor * divisor;
    factors_[pair.first->node].out = factors_[pair.first->node].out / divisor;
    Factors& second = factors_[pair.second->node];
    second.in = second.in * divisor.repeat_interleave(pair.repeat);
    return (divisor - 1).abs().max().item<double>();
  }

  void apply() const {
    const auto scale = [](const at::Tensor& parameter, const at::Tensor& by) {
      if (parameter.defined()) {
        parameter.detach().copy_(parameter.detach().to(at::kDouble) * by);
      }
    };
    for (const auto& [node, factors] : factors_) {
      const Layer& layer = *layers_.at_node(node);
      const at::Tensor in = spread_inputs(layer, factors.in);
      if (layer.batch_norm) {
        scale(layer.weight, in);
        scale(layer.batch_norm->gamma, factors.out);
        scale(layer.batch_norm->beta, factors.out);
      } else {
        scale(layer.weight, in * spread_outputs(layer, factors.out));
        scale(layer.bias, factors.out);
      }
    }
  }

  Engine& engine_;
  Layers layers_;
  std::vector<Pair> pairs_;
  std::unordered_map<int64_t, Factors> factors_;
};

void require_fresh(PreparedModel& prepared) {
  Engine& engine = prepared.engine();
  insert::BankMode mode;
  mode.quantize = false;
  engine.bank.begin_forward(mode);
  bool seen = false;
  for (size_t i = 0; i < engine.bank.size(); ++i) {
    seen |= engine.bank.initialized(static_cast<int>(i));
  }
  for (const auto& [name, tensor] : engine.weights.state()) {
    seen |= name.ends_with(".initialized") && tensor.item<int64_t>() != 0;
  }
  if (seen) {
    throw Error(
        "equalize: ranges have been observed already, and they would no longer fit; equalize "
        "right after prepare(), then calibrate");
  }
}

}  // namespace

std::vector<EqualizedPair> equalize(PreparedModel& prepared) {
  const at::NoGradGuard no_grad;
  require_eval(prepared, "equalize");
  require_fresh(prepared);
  return Equalizer(prepared.engine()).run();
}

}  // namespace qat::ptq
