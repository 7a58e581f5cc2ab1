// What observers saw in several processes, taken together.

#include <ATen/core/grad_mode.h>

#include <map>

#include "error.h"
#include "insert/engine.h"
#include "insert/quantizer_bank.h"

namespace qat {
namespace insert {
namespace {

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
    tensor.copy_(theirs);
  }
  return observer;
}

}  // namespace

void QuantizerBank::merge(const NamedTensors& state) {
  const at::NoGradGuard no_grad;
  const std::map<std::string, at::Tensor> states(state.begin(), state.end());
  std::vector<std::unique_ptr<Observer>> others;
  for (const State& mine : states_) {
    others.push_back(observer_with(mine.plan.recipe, mine.plan.name, states));
  }
  commit();
  for (size_t i = 0; i < others.size(); ++i) {
    if (!others[i]->empty()) states_[i].observer->merge(*others[i]);
  }
}

}  // namespace insert

void PreparedModel::merge_observations(const NamedTensors& state) { engine_->bank.merge(state); }

}  // namespace qat
