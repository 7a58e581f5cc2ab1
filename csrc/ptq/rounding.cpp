// Nagel, Amjad, van Baalen, Louizos, Blankevoort, "Up or Down? Adaptive Rounding for Post-Training
// Quantization", ICML 2020, section 3: w is rounded to scale * clamp(floor(w / scale) + h(V)) with
//
//   h(V) = clamp(sigmoid(V) * (zeta - gamma) + gamma, 0, 1),  zeta = 1.1, gamma = -0.1
//   loss = |layer(w) - layer(rounded)|^2 + lambda * sum of 1 - |2 h(V) - 1|^beta
//
// Here the first term is divided by its value for rounding to nearest and the second is a mean, so
// that lambda means the same for every layer.

#include "ptq/rounding.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/convolution.h>
#include <ATen/ops/leaky_relu.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/minimum.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/where.h>
#include <torch/optim/adam.h>

#include <cmath>
#include <numbers>

#include "quantizers/weight_common.h"

namespace qat::ptq {
namespace {

constexpr double kZeta = 1.1, kGamma = -0.1;
constexpr int64_t kRows = 64;  // of a pass that measures

at::Tensor activate(const at::Tensor& x, const numerics::Activation& activation) {
  using Kind = numerics::ActivationKind;
  const auto gate = [&] { return (x + 3.0).clamp(0.0, 6.0) / 6.0; };
  switch (activation.kind) {
    case Kind::relu:
      return x.relu();
    case Kind::clamp:
      return x.clamp(activation.p0, activation.p1);
    case Kind::leaky_relu:
      return at::leaky_relu(x, activation.p0);
    case Kind::hardswish:
      return x * gate();
    case Kind::hardsigmoid:
      return gate();
    case Kind::none:
      break;
  }
  return x;
}

int64_t channel_axis(const RoundingProblem& problem) {
  return problem.geometry ? 1 : problem.targets.dim() - 1;
}

at::Tensor outputs(const RoundingProblem& problem, const at::Tensor& inputs,
                   const at::Tensor& codes) {
  const at::Tensor weight = codes * problem.scale;
  at::Tensor out;
  if (const auto& g = problem.geometry) {
    out = at::convolution(inputs, weight, {}, g->stride, g->padding, g->dilation, g->transposed,
                          g->output_padding, g->groups);
  } else {
    out = at::linear(inputs, weight);
  }
  std::vector<int64_t> per_channel(static_cast<size_t>(out.dim()), 1);
  per_channel[channel_axis(problem)] = -1;
  if (problem.gain.defined()) out = out * problem.gain.reshape(per_channel);
  if (problem.shift.defined()) out = out + problem.shift.reshape(per_channel);
  return problem.activation ? activate(out, *problem.activation) : out;
}

// float64[C]: mean square per channel of what the outputs are off.
at::Tensor channel_errors(const RoundingProblem& problem, const at::Tensor& codes) {
  const int64_t rows = problem.inputs.size(0), axis = channel_axis(problem);
  at::Tensor sum;
  for (int64_t start = 0; start < rows; start += kRows) {
    const int64_t count = std::min(kRows, rows - start);
    const at::Tensor off = outputs(problem, problem.inputs.narrow(0, start, count), codes) -
                           problem.targets.narrow(0, start, count);
    const at::Tensor part = off.to(at::kDouble).square().movedim(axis, 0).flatten(1).sum(1);
    sum = sum.defined() ? sum + part : part;
  }
  const double per_channel = static_cast<double>(problem.targets.numel() / sum.numel());
  return sum / per_channel;
}

class Search {
 public:
  Search(const RoundingProblem& problem, const AdaroundOptions& options)
      : problem_(problem), options_(options) {
    const at::Tensor steps = problem.weight / problem.scale;
    floor_ = steps.floor();
    const at::Tensor rest = (steps - floor_).clamp(1e-4, 1 - 1e-4);
    // h(V) = rest
    variables_ = -((kZeta - kGamma) / (rest - kGamma) - 1.0).log();
    variables_.requires_grad_(true);
  }

  at::Tensor& variables() { return variables_; }

  at::Tensor loss(const at::Tensor& rows, double nearest_error, double beta) const {
    const at::Tensor up = soft();
    const at::Tensor off = outputs(problem_, problem_.inputs.index_select(0, rows), codes(up)) -
                           problem_.targets.index_select(0, rows);
    at::Tensor loss = off.square().mean() / nearest_error;
    if (beta > 0) {
      loss = loss + options_.regularizer * (1.0 - (2.0 * up - 1.0).abs().pow(beta)).mean();
    }
    return loss;
  }

  at::Tensor rounded() const { return codes((soft() >= 0.5).to(at::kFloat)).detach(); }

 private:
  at::Tensor soft() const {
    return (variables_.sigmoid() * (kZeta - kGamma) + kGamma).clamp(0.0, 1.0);
  }
  at::Tensor codes(const at::Tensor& up) const {
    const at::Tensor inside = at::minimum(floor_ + up, problem_.high).maximum(problem_.low);
    return at::where(problem_.fixed, problem_.nearest, inside);
  }

  const RoundingProblem& problem_;
  const AdaroundOptions& options_;
  at::Tensor floor_, variables_;
};

// Half a cosine from beta_start to beta_end over what follows the warm-up; 0 before.
double beta_at(const AdaroundOptions& options, int64_t iteration) {
  const double done = static_cast<double>(iteration) / static_cast<double>(options.iterations);
  if (done < options.warmup) return 0;
  const double share = (done - options.warmup) / (1 - options.warmup);
  return options.beta_end +
         0.5 * (options.beta_start - options.beta_end) * (1 + std::cos(share * std::numbers::pi));
}

at::Tensor search(const RoundingProblem& problem, const AdaroundOptions& options,
                  double nearest_error, at::Generator& generator) {
  const at::AutoGradMode with_gradient(true);
  Search search(problem, options);
  torch::optim::Adam optimizer({search.variables()}, torch::optim::AdamOptions(options.lr));
  const int64_t count = problem.inputs.size(0);
  for (int64_t iteration = 0; iteration < options.iterations; ++iteration) {
    const at::Tensor rows = at::randint(count, {std::min(options.batch, count)}, generator,
                                        at::TensorOptions(at::kLong));
    optimizer.zero_grad();
    search.loss(rows, nearest_error, beta_at(options, iteration)).backward();
    optimizer.step();
  }
  return search.rounded();
}

}  // namespace

RoundingSolution solve(const RoundingProblem& problem, const AdaroundOptions& options,
                       at::Generator generator) {
  const at::NoGradGuard no_grad;
  const at::Tensor nearest = channel_errors(problem, problem.nearest);
  const double nearest_error = nearest.mean().item<double>();
  if (!(nearest_error > 0)) return {problem.nearest, nearest_error, nearest_error};
  const at::Tensor found = search(problem, options, nearest_error, generator);
  const at::Tensor errors = channel_errors(problem, found);
  const at::Tensor better = errors < nearest;
  const WeightShape shape{problem.weight.sizes().vec(), problem.weight_axis, problem.weight_groups};
  const at::Tensor codes = at::where(quantizers::spread(better, shape), found, problem.nearest);
  return {codes, nearest_error, at::where(better, errors, nearest).mean().item<double>()};
}

}  // namespace qat::ptq
