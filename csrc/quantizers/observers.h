#pragma once
// One maker for each name of observer_names().

#include <memory>

#include "error.h"
#include "quantizers/observer.h"

namespace qat {

std::unique_ptr<Observer> make_ema_minmax(const ActivationRecipe& recipe);
std::unique_ptr<Observer> make_minmax(const ActivationRecipe& recipe);
std::unique_ptr<Observer> make_percentile(const ActivationRecipe& recipe);
std::unique_ptr<Observer> make_mse(const ActivationRecipe& recipe);
std::unique_ptr<Observer> make_kl(const ActivationRecipe& recipe);

// `other` as the observer that takes it in; qat::Error where it is of another kind.
template <typename Same>
const Same& same_kind(const Observer& other) {
  const auto* same = dynamic_cast<const Same*>(&other);
  if (same == nullptr) {
    throw Error("observer: merge: expected an observer made by the same recipe, got another kind.");
  }
  return *same;
}

}  // namespace qat
