// AdaRound on the layers of a prepared model: inputs as the quantized model gives them with
// everything before the layer already rounded, outputs of the float model as the target.

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/maximum.h>
#include <ATen/ops/minimum.h>
#include <ATen/ops/where.h>

#include <algorithm>

#include "error.h"
#include "insert/ops_calls.h"
#include "ptq/layers.h"
#include "ptq/passes.h"
#include "ptq/ptq.h"
#include "ptq/rounding.h"
#include "quantizers/weight_common.h"

namespace qat::ptq {
namespace {

// The codes that a weight has, and the weight that keeps any others.
class Coder {
 public:
  Coder(Engine& engine, const Layer& layer)
      : engine_(engine), layer_(layer), weight_(layer.weight.detach().clone()) {
    const QuantizedWeight now = quantized();
    scale_ = now.scale;
    codes_ = now.codes.to(at::kFloat);
    const bool shared = engine.plan.sites[layer.node].weight.granularity == Granularity::tensor;
    at::Tensor largest = quantizers::channel_absmax(weight_, layer.shape);
    at::Tensor limit = quantizers::channel_absmax(codes_, layer.shape);
    if (shared) {
      largest = largest.amax().expand_as(largest);
      limit = limit.amax().expand_as(limit);
    }
    absmax_ = spread(largest);
    const numerics::IntFormat format = engine.plan.sites[layer.node].weight.format();
    high_ = spread(limit).clamp_max(format.quant_max());
    low_ = (-spread(limit)).clamp_min(format.quant_min());
    fixed_ = weight_.abs() == absmax_;
  }

  // Writes code * scale, but the largest magnitude of each channel (of the weight, with one scale)
  // stays what it is: methods that measure it must find the same scale again. Throws, with the
  // weight as it was, where the method gives other codes then.
  void write(const at::Tensor& codes) const {
    const at::Tensor values = codes * spread(scale_);
    const at::Tensor inside = at::maximum(at::minimum(values, absmax_), -absmax_);
    layer_.weight.detach().copy_(at::where(fixed_, weight_, inside));
    const QuantizedWeight found = quantized();
    if (found.scale.equal(scale_) && found.codes.equal(codes.to(at::kChar))) return;
    layer_.weight.detach().copy_(weight_);
    throw Error(
        "adaround: '" + layer_.site + "': the weight method '" + method() +
        "' does not give back the codes that were written; use absmax, mse, lsq or tqt, without "
        "clusters and before pruning");
  }

  void fill(RoundingProblem& problem) const {
    problem.weight = weight_;
    problem.scale = spread(scale_);
    problem.nearest = codes_;
    problem.low = low_;
    problem.high = high_;
    problem.fixed = fixed_;
    problem.weight_axis = layer_.shape.axis;
    problem.weight_groups = layer_.shape.groups;
  }

  const at::Tensor& codes() const { return codes_; }

 private:
  at::Tensor spread(const at::Tensor& values) const { return spread_outputs(layer_, values); }
  const std::string& method() const { return engine_.plan.sites[layer_.node].weight.method; }
  QuantizedWeight quantized() const {
    const int entry = engine_.weights.entry_of(layer_.node);
    return engine_.weights.quantize(entry, layer_.weight.detach(), {}).quantized;
  }

  Engine& engine_;
  const Layer& layer_;
  at::Tensor weight_, scale_, codes_, absmax_, low_, high_, fixed_;
};

// Collects one site's values for the first rows of the batches.
class Collector {
 public:
  Collector(Engine& engine, const Batches& batches, int64_t rows)
      : engine_(engine), batches_(batches), rows_(rows) {}

  at::Tensor values(Phase phase, int64_t value, const Layers& layers) const {
    std::vector<at::Tensor> parts;
    int64_t rows = 0;
    for (int64_t index = 0; index < batches_.count && rows < rows_; ++index) {
      const TensorList inputs = batches_.at(index);
      at::Tensor part = value_of(phase, value, layers, inputs);
      part = part.narrow(0, 0, std::min(part.size(0), rows_ - rows));
      rows += part.size(0);
      parts.push_back(part);
    }
    return at::cat(parts);
  }

 private:
  at::Tensor value_of(Phase phase, int64_t value, const Layers& layers,
                      const TensorList& inputs) const {
    const capture::TraceValue& traced = engine_.trace.values[value];
    if (traced.source == capture::Source::input) return inputs.at(traced.index);
    at::Tensor seen;
    forward(engine_, phase, inputs, {layers.site_of(value)},
            [&](const std::string&, const at::Tensor& result) { seen = result.clone(); });
    return seen;
  }

  Engine& engine_;
  const Batches& batches_;
  int64_t rows_;
};

// Values of the layer's input, rounded where only the edge into the layer rounds them.
at::Tensor as_read(Engine& engine, const Layer& layer, const at::Tensor& input) {
  const auto& site = engine.plan.sites[layer.node];
  const auto operands = engine.trace.nodes[layer.node].inputs();
  const auto at = std::find(operands.begin(), operands.end(), layer.input) - operands.begin();
  const int edge = site.operands.at(static_cast<size_t>(at));
  if (edge == insert::kNoQuantizer) return input;
  engine.bank.begin_forward({});
  insert::Codes codes = engine.bank.target(edge);
  codes.codes = insert::call::quantize(input, codes);
  return insert::call::dequantize(codes);
}

// out * gain + shift is what batch norm makes of the layer's products, or the bias alone.
void add_affine(const Layer& layer, RoundingProblem& problem) {
  at::Tensor shift;
  if (layer.bias.defined()) shift = layer.bias.detach().to(at::kDouble);
  if (layer.batch_norm) {
    const BatchNorm& norm = *layer.batch_norm;
    const at::Tensor gain = norm.gain();
    const at::Tensor centre = norm.mean.to(at::kDouble);
    shift = (shift.defined() ? shift - centre : -centre) * gain;
    if (norm.beta.defined()) shift = shift + norm.beta.detach().to(at::kDouble);
    problem.gain = gain.to(at::kFloat);
  }
  if (shift.defined()) problem.shift = shift.to(at::kFloat);
}

void require_options(const AdaroundOptions& options) {
  const auto positive = [](const char* name, auto value) {
    if (value > 0) return;
    throw Error(std::string("adaround: ") + name + ": expected a number above 0, got " +
                std::to_string(value));
  };
  positive("iterations", options.iterations);
  positive("lr", options.lr);
  positive("batch", options.batch);
  positive("samples", options.samples);
}

Rounded round_layer(Engine& engine, const Layers& layers, const Layer& layer,
                    const Collector& collector, const at::Tensor& targets,
                    const AdaroundOptions& options) {
  const Coder coder(engine, layer);
  RoundingProblem problem;
  coder.fill(problem);
  problem.inputs = as_read(engine, layer, collector.values(Phase::qat, layer.input, layers));
  problem.targets = targets;
  problem.geometry = layer.geometry;
  problem.activation = layer.activation;
  add_affine(layer, problem);
  const auto seed = static_cast<uint64_t>(options.seed) + static_cast<uint64_t>(layer.node);
  const RoundingSolution found =
      solve(problem, options, at::make_generator<at::CPUGeneratorImpl>(seed));
  coder.write(found.codes);
  const at::Tensor changed = found.codes != coder.codes();
  return {layer.site, found.nearest_error, found.error,
          changed.to(at::kDouble).mean().item<double>()};
}

}  // namespace

std::string adaround_obstacle(const WeightRecipe& recipe) {
  const std::string cannot = " does not give back the codes that adaround writes; ";
  if (recipe.in_groups()) {
    return "weights in groups or with zero points: what the weight recipe measures" + cannot +
           "set granularity: channel or tensor, and symmetric: true";
  }
  const bool other =
      recipe.method == "dorefa" || recipe.method == "ternary" || recipe.method == "binary";
  if (!other) return {};
  return "the weight method '" + recipe.method + "'" + cannot + "use absmax, mse, lsq or tqt";
}

std::vector<Rounded> adaround(PreparedModel& prepared, const Batches& batches,
                              const AdaroundOptions& options, const Reference& reference) {
  const at::NoGradGuard no_grad;
  require_eval(prepared, "adaround");
  require_batches(batches, "adaround");
  require_options(options);
  Engine& engine = prepared.engine();
  const Layers layers(engine);
  const Collector collector(engine, batches, options.samples);
  const Reference floating = reference.empty() ? remember(prepared) : reference;
  // Before hours may be spent: the methods that cannot hold codes.
  for (const Layer& layer : layers.all()) {
    if (!layer.integer) continue;
    const std::string obstacle = adaround_obstacle(engine.plan.sites[layer.node].weight);
    if (!obstacle.empty()) throw Error("adaround: '" + layer.site + "': " + obstacle);
    const at::Tensor weight = layer.weight.detach().clone();
    const Coder coder(engine, layer);
    coder.write(coder.codes());
    layer.weight.detach().copy_(weight);
  }
  std::vector<Rounded> all;
  for (const Layer& layer : layers.all()) {
    if (!layer.integer) continue;
    at::Tensor targets;
    {
      const ReferenceGuard guard(engine, floating);
      targets = collector.values(Phase::floating, layer.activated, layers);
    }
    all.push_back(round_layer(engine, layers, layer, collector, targets, options));
  }
  return all;
}

}  // namespace qat::ptq
