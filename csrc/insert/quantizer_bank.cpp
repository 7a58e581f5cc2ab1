#include "insert/quantizer_bank.h"

#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>

#include <algorithm>

#include "error.h"
#include "numerics/qparams.h"

namespace qat::insert {

QuantizerBank::QuantizerBank(const std::vector<QuantizerPlan>& plans) {
  for (const QuantizerPlan& plan : plans) {
    State state;
    state.plan = plan;
    state.min = at::zeros({1}, at::kFloat);
    state.max = at::zeros({1}, at::kFloat);
    state.count = at::zeros({1}, at::kLong);
    states_.push_back(std::move(state));
  }
}

void QuantizerBank::fix_parameters(State& state) {
  const QuantizerPlan& plan = state.plan;
  const auto params = numerics::choose_qparams(state.min.item<float>(), state.max.item<float>(),
                                               plan.format, plan.symmetry, plan.power_of_two);
  state.ready = true;
  if (state.target.scale.defined() && state.target.params == params) return;
  state.target.params = params;
  state.target.format = plan.format;
  state.target.scale = at::full({1}, params.scale, at::kFloat);
  state.target.zero_point = at::full({1}, params.zero_point, at::kInt);
}

void QuantizerBank::commit() {
  for (State& state : states_) {
    if (!state.observed) continue;
    state.observed = false;
    const int64_t count = state.count.item<int64_t>();
    // A running mean until it is as slow as the recipe's momentum.
    const auto share =
        static_cast<float>(std::max(state.plan.momentum, 1.0 / static_cast<double>(count + 1)));
    const auto move = [share](const at::Tensor& bound, float seen) {
      const float old = bound.item<float>();
      bound.fill_(old + share * (seen - old));
    };
    move(state.min, state.seen_min);
    move(state.max, state.seen_max);
    state.count.fill_(count + 1);
  }
}

void QuantizerBank::begin_forward() {
  at::NoGradGuard no_grad;
  commit();
  for (State& state : states_) {
    if (state.count.item<int64_t>() > 0) {
      fix_parameters(state);
    } else {
      state.ready = false;
    }
  }
}

void QuantizerBank::discard_observations() {
  for (State& state : states_) state.observed = false;
}

void QuantizerBank::initialize(int index, const at::Tensor& range) {
  State& state = states_[index];
  const float* bounds = range.const_data_ptr<float>();
  state.min.fill_(bounds[0]);
  state.max.fill_(bounds[1]);
  fix_parameters(state);
}

void QuantizerBank::observe(int index, const at::Tensor& range) {
  State& state = states_[index];
  const float* bounds = range.const_data_ptr<float>();
  state.seen_min = state.observed ? std::min(state.seen_min, bounds[0]) : bounds[0];
  state.seen_max = state.observed ? std::max(state.seen_max, bounds[1]) : bounds[1];
  state.observed = true;
}

NamedTensors QuantizerBank::state() const {
  NamedTensors all;
  for (const State& state : states_) {
    all.emplace_back(state.plan.name + ".min", state.min);
    all.emplace_back(state.plan.name + ".max", state.max);
    all.emplace_back(state.plan.name + ".count", state.count);
  }
  return all;
}

}  // namespace qat::insert
