#include "insert/quantizer_bank.h"

#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <algorithm>

#include "insert/kept_state.h"
#include "numerics/qparams.h"
#include "quantizers/frozen.h"
#include "quantizers/number.h"

namespace qat::insert {
namespace {

numerics::QuantParams params_of(Range range, const ActivationRecipe& recipe) {
  return numerics::choose_qparams(range.lo, range.hi, recipe.format(), recipe.symmetry(),
                                  recipe.power_of_two);
}

// A quantizer needs some range: where no value is finite it is that of 0, as range_of() gives it.
void show(Observer& observer, const at::Tensor& values) {
  observer.observe(values);
  if (observer.empty()) observer.observe(at::zeros({1}, at::kFloat));
}

Range range_in(const at::Tensor& range) {
  const float* bounds = range.const_data_ptr<float>();
  return {bounds[0], bounds[1]};
}

}  // namespace

QuantizerBank::QuantizerBank(const std::vector<QuantizerPlan>& plans,
                             const FreezeSchedule& freeze) {
  for (const QuantizerPlan& plan : plans) {
    State state;
    state.plan = plan;
    state.now = plan.recipe;
    state.observer = make_observer(observer_of(plan.recipe), plan.recipe);
    state.learned = make_learned_range(plan.recipe);
    if (state.learned) state.calibrated = at::zeros({1}, at::kLong);
    if (freeze.convergence > 0) {
      state.convergence = std::make_shared<Convergence>(freeze.convergence, 2);
    }
    states_.push_back(std::move(state));
  }
}

void QuantizerBank::set_target(State& state, numerics::QuantParams params) {
  state.ready = true;
  const numerics::IntFormat format = state.now.format();
  const bool known = state.target.scale.defined() && state.target.format == format;
  if (known && state.target.params == params) return;
  state.target.params = params;
  state.target.format = format;
  // New tensors: those of earlier forwards are kept for their backward.
  state.target.scale = one_number(params.scale);
  state.target.zero_point = one_number(params.zero_point);
}

void QuantizerBank::start_learning(State& state) {
  state.learned->initialize(params_of(state.observer->range(), state.plan.recipe));
  state.calibrated.fill_(1);
}

void QuantizerBank::fix_parameters(State& state) {
  if (state.learned && !state.starts_learning()) {
    set_target(state, state.learned->params(state.now.format()));
  } else {
    set_target(state, params_of(state.observer->range(), state.now));
  }
}

void QuantizerBank::commit() {
  for (State& state : states_) {
    if (state.seen) state.observer->observe_range(*state.seen);
    state.seen.reset();
  }
}

// The ends of the range, in units of its width: either may be 0.
void QuantizerBank::watch(State& state) {
  const bool learned = state.learned && !state.starts_learning();
  if (!learned && state.observer->empty()) return;
  const Range range = learned ? state.learned->range() : state.observer->range();
  const double width = double{range.hi} - double{range.lo};
  state.convergence->see(at::tensor({double{range.lo}, double{range.hi}}, at::kDouble),
                         at::full({1}, width, at::kDouble));
}

void QuantizerBank::begin_forward(const BankMode& mode) {
  const KeptState kept;
  commit();
  for (State& state : states_) {
    state.now = state.plan.recipe;
    state.now.bits = std::max(state.now.bits, mode.progress.activation_bits);
    const bool used = mode.progress.fraction >= state.plan.start;
    const bool observed = !state.observer->empty();
    if (mode.quantize && used && observed && state.starts_learning()) start_learning(state);
    if (state.convergence) {
      if (mode.moves && used) watch(state);
      state.frozen = mode.quantize && state.convergence->reached();
    }
    if (state.learned && (mode.frozen || state.frozen)) drop_gradients(state.learned->state());
    if (used && (observed || (state.learned && !state.starts_learning()))) {
      fix_parameters(state);
    } else {
      state.ready = false;
    }
  }
}

void QuantizerBank::stand_still() {
  for (const State& state : states_) {
    if (state.learned) drop_gradients(state.learned->state());
  }
}

void QuantizerBank::discard_observations() {
  for (State& state : states_) state.seen.reset();
}

void QuantizerBank::initialize(int index, const at::Tensor& values, const at::Tensor& range) {
  const KeptState kept;
  State& state = states_[index];
  if (!state.learned && !state.observer->needs_values()) {
    set_target(state, params_of(range_in(range), state.now));
    return;
  }
  if (state.observer->needs_values()) {
    show(*state.observer, values);
  } else {
    state.observer->observe_range(range_in(range));
  }
  if (state.learned) start_learning(state);
  fix_parameters(state);
}

bool QuantizerBank::follows_training(int index) const {
  const State& state = states_[index];
  return !state.frozen && !state.learned && !state.observer->needs_values();
}

void QuantizerBank::observe(int index, const at::Tensor& range) {
  std::optional<Range>& seen = states_[index].seen;
  const Range batch = range_in(range);
  seen = seen ? Range{std::min(seen->lo, batch.lo), std::max(seen->hi, batch.hi)} : batch;
}

void QuantizerBank::observe_values(int index, const at::Tensor& values) {
  show(*states_[index].observer, values);
}

RangeEdges QuantizerBank::edges(int index, int64_t elements) const {
  const State& state = states_[index];
  if (!state.learned || state.frozen) return {};
  return state.learned->edges(elements, state.now.format());
}

NamedTensors QuantizerBank::state() const {
  NamedTensors all;
  for (const State& state : states_) {
    const auto add = [&](const NamedTensors& tensors) {
      for (const auto& [name, tensor] : tensors) {
        all.emplace_back(state.plan.name + "." + name, tensor);
      }
    };
    add(state.observer->state());
    if (state.convergence) add(state.convergence->state());
    if (!state.learned) continue;
    add(state.learned->state());
    add({{"calibrated", state.calibrated}});
  }
  return all;
}

}  // namespace qat::insert
