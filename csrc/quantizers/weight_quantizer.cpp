#include "quantizers/weight_quantizer.h"

#include <algorithm>
#include <map>

#include "error.h"

namespace qat {
namespace {

std::map<std::string, WeightMethod>& registry() {
  static std::map<std::string, WeightMethod> methods;
  return methods;
}

// Keys that only some of the others leave room for.
void check_groups(const WeightRecipe& recipe, const std::string& path) {
  const bool grouped = recipe.granularity == Granularity::group;
  if (!grouped && recipe.group != WeightRecipe().group) {
    throw Error(path + ".group: " + std::to_string(recipe.group) + " needs granularity: group");
  }
  if ((recipe.group & (recipe.group - 1)) != 0) {
    throw Error(path + ".group: expected a power of two, got " + std::to_string(recipe.group));
  }
  if (!recipe.symmetric && recipe.bits == numerics::kMaxBits) {
    throw Error(path +
                ".symmetric: false takes 2 to 7 bits, as 8 bits less a zero point do not fit int8; "
                "got bits: 8");
  }
  if (!recipe.in_groups()) return;
  const std::string key = grouped ? "granularity: group" : "symmetric: false";
  if (recipe.method != "absmax") {
    throw Error(path + ": " + key + " goes with method absmax, got " + recipe.method);
  }
  if (recipe.rounding == Rounding::stochastic || recipe.noise != 0.0) {
    const char* rounding = recipe.rounding == Rounding::nearest ? "nearest" : "stochastic";
    throw Error(path + ": " + key +
                " rounds to nearest; expected rounding: nearest and noise: 0, " +
                "got rounding: " + rounding + " and noise: " + std::to_string(recipe.noise));
  }
}

}  // namespace

bool register_weight_method(WeightMethod method) {
  const std::string name = method.name;
  return registry().emplace(name, std::move(method)).second;
}

const std::vector<std::string>& weight_methods() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all;
    for (const auto& [name, method] : registry()) all.push_back(name);
    return all;
  }();
  return names;
}

void check_weight_recipe(const WeightRecipe& recipe, const std::string& path) {
  check_groups(recipe, path);
  const auto& method = registry().at(recipe.method);
  const std::string obstacle = method.obstacle ? method.obstacle(recipe) : "";
  if (!obstacle.empty()) throw Error(path + ": method " + recipe.method + " " + obstacle);
}

std::unique_ptr<WeightQuantizer> make_weight_quantizer(const WeightRecipe& recipe,
                                                       const WeightShape& shape) {
  return registry().at(recipe.method).make(recipe, shape);
}

}  // namespace qat
