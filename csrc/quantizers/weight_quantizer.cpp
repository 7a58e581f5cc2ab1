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
  const auto& method = registry().at(recipe.method);
  const std::string obstacle = method.obstacle ? method.obstacle(recipe) : "";
  if (!obstacle.empty()) throw Error(path + ": method " + recipe.method + " " + obstacle);
}

std::unique_ptr<WeightQuantizer> make_weight_quantizer(const WeightRecipe& recipe,
                                                       const WeightShape& shape) {
  return registry().at(recipe.method).make(recipe, shape);
}

}  // namespace qat
