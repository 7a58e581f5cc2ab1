#include "quantizers/learned_range.h"

#include <algorithm>
#include <map>

#include "error.h"
#include "numerics/learned.h"

namespace qat {
namespace {

std::map<std::string, RangeMethod>& registry() {
  static std::map<std::string, RangeMethod> methods;
  return methods;
}

}  // namespace

double times_finer(numerics::IntFormat now, numerics::IntFormat of) {
  return static_cast<double>(now.quant_max()) / of.quant_max();
}

int32_t zero_code(float zero_point, double times, numerics::IntFormat now) {
  const auto moved = static_cast<float>(zero_point * times);
  return static_cast<int32_t>(numerics::learned_zero_code(
      moved, static_cast<float>(now.quant_min()), static_cast<float>(now.quant_max())));
}

Range covered(double scale, double zero_point, numerics::IntFormat format) {
  return {static_cast<float>((format.quant_min() - zero_point) * scale),
          static_cast<float>((format.quant_max() - zero_point) * scale)};
}

bool register_range_method(RangeMethod method) {
  const std::string name = method.name;
  return registry().emplace(name, std::move(method)).second;
}

const std::vector<std::string>& activation_methods() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all = observer_names();
    for (const auto& [name, method] : registry()) all.push_back(name);
    return all;
  }();
  return names;
}

void check_activation_recipe(const ActivationRecipe& recipe, const std::string& path) {
  const auto found = registry().find(recipe.method);
  if (found == registry().end() || !found->second.obstacle) return;
  const std::string obstacle = found->second.obstacle(recipe);
  if (!obstacle.empty()) throw Error(path + ": method " + recipe.method + " " + obstacle);
}

std::unique_ptr<LearnedRange> make_learned_range(const ActivationRecipe& recipe) {
  const auto found = registry().find(recipe.method);
  return found == registry().end() ? nullptr : found->second.make(recipe);
}

const std::string& observer_of(const ActivationRecipe& recipe) {
  return registry().count(recipe.method) > 0 ? recipe.init : recipe.method;
}

}  // namespace qat
