// The names of the observers, in the order of the documentation.

#include "quantizers/recipe.h"

namespace qat {

const std::vector<std::string>& observer_names() {
  static const std::vector<std::string> names = {"ema_minmax", "minmax", "percentile", "mse", "kl"};
  return names;
}

}  // namespace qat
