#include "quantizers/observer.h"

#include <array>

#include "error.h"
#include "quantizers/observers.h"

namespace qat {
namespace {

struct Kind {
  const char* name;
  std::unique_ptr<Observer> (*make)(const ActivationRecipe&);
};

constexpr std::array<Kind, 5> kKinds = {{{"ema_minmax", &make_ema_minmax},
                                         {"minmax", &make_minmax},
                                         {"percentile", &make_percentile},
                                         {"mse", &make_mse},
                                         {"kl", &make_kl}}};

}  // namespace

std::unique_ptr<Observer> make_observer(const std::string& observer,
                                        const ActivationRecipe& recipe) {
  for (const Kind& kind : kKinds) {
    if (observer == kind.name) return kind.make(recipe);
  }
  std::string names;
  for (const std::string& name : observer_names()) names += (names.empty() ? "" : ", ") + name;
  throw Error("observer: expected one of " + names + ", got '" + observer + "'.");
}

}  // namespace qat
