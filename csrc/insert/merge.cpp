// What observers saw in several processes, taken together.

#include <ATen/core/grad_mode.h>
#include <ATen/ops/isnan.h>

#include <map>

#include "error.h"
#include "insert/engine.h"
#include "insert/quantizer_bank.h"

namespace qat {
namespace insert {
namespace {

void require_counts(const std::string& name, const at::Tensor& counts) {
  if (counts.ge(0).all().item<bool>()) return;
  throw Error("merge_ranges: '" + name + "': expected counts of 0 or more, got " +
              std::to_string(counts.min().item<int64_t>()));
}

// An observer of the recipe with the state that `states` has under `site`.
std::unique_ptr<Observer> observer_with(const ActivationRecipe& recipe, const std::string& site,
                                        const std::map<std::string, at::Tensor>& states) {
  auto observer = make_observer(observer_of(recipe), recipe);
  for (const auto& [name, tensor] : observer->state()) {
    const auto found = states.find(site + "." + name);
    if (found == states.end()) {
      throw Error("merge_ranges: the state lacks '" + site + "." + name +
                  "'; it has to come from the same model, prepared with the same recipe");
    }
    const at::Tensor& theirs = found->second;
    if (theirs.sizes() != tensor.sizes() || theirs.scalar_type() != tensor.scalar_type()) {
      throw Error("merge_ranges: '" + found->first +
                  "' has another shape or type than here; it "
                  "has to come from the same model, prepared with the same recipe");
    }
    if (theirs.isnan().any().item<bool>()) {
      throw Error("merge_ranges: '" + found->first + "' holds NaN, which no observer keeps");
    }
    if (name == "count" || name == "counts" || name == "tally")
      require_counts(found->first, theirs);
    tensor.copy_(theirs);
  }
  return observer;
}

void copy_state(const Observer& from, const Observer& to) {
  const NamedTensors source = from.state(), target = to.state();
  for (size_t i = 0; i < source.size(); ++i) target[i].second.copy_(source[i].second);
}

}  // namespace

// All merges are made on copies first: one that fails leaves every range as it was.
void QuantizerBank::merge(const NamedTensors& state) {
  const at::NoGradGuard no_grad;
  const std::map<std::string, at::Tensor> states(state.begin(), state.end());
  commit();
  std::vector<std::unique_ptr<Observer>> merged;
  for (const State& mine : states_) {
    const auto theirs = observer_with(mine.plan.recipe, mine.plan.name, states);
    merged.push_back(make_observer(observer_of(mine.plan.recipe), mine.plan.recipe));
    copy_state(*mine.observer, *merged.back());
    if (!theirs->empty()) merged.back()->merge(*theirs);
  }
  for (size_t i = 0; i < merged.size(); ++i) copy_state(*merged[i], *states_[i].observer);
}

}  // namespace insert

void PreparedModel::merge_observations(const NamedTensors& state) { engine_->bank.merge(state); }

}  // namespace qat
