// The recipes that have a name. configs/recipes holds the same ones as files, with comments.

#include <nlohmann/json.hpp>

#include "error.h"
#include "quantizers/recipe.h"
#include "quantizers/recipe_fields.h"

namespace qat {
namespace {

using nlohmann::json;

// The first and the last layer hold few of the weights and lose most below 8 bits.
json ends_at_8_bits() {
  json rules = json::array();
  for (const char* sites : {"<first>", "<last>"}) {
    rules.push_back({{"sites", sites}, {"weight_bits", 8}, {"activation_bits", 8}});
  }
  return rules;
}

json low_bits(int weights, int activations) {
  return {{"weights", {{"bits", weights}, {"method", "lsq"}}},
          {"activations", {{"bits", activations}, {"method", "lsq"}}},
          {"rules", ends_at_8_bits()}};
}

json weights_only(int bits, const char* method) {
  return {{"weights", {{"bits", bits}, {"method", method}}},
          {"rules",
           {{{"sites", "<first>"}, {"weight_bits", 8}, {"weight_method", "absmax"}},
            {{"sites", "<last>"}, {"weight_bits", 8}, {"weight_method", "absmax"}}}}};
}

struct Named {
  const char* name;
  json keys;
};

const std::vector<Named>& all() {
  static const std::vector<Named> recipes = {
      {"int8", json::object()},
      {"int8-symmetric", {{"target", "tensorrt"}}},
      {"w4a8", weights_only(4, "lsq")},
      {"w4a4-lsq", low_bits(4, 4)},
      {"w3a3", low_bits(3, 3)},
      {"w2a2", low_bits(2, 2)},
      {"ternary", weights_only(2, "ternary")},
      {"mixed", low_bits(4, 6)},
  };
  return recipes;
}

}  // namespace

const std::vector<std::string>& recipe_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> list;
    for (const Named& recipe : all()) list.emplace_back(recipe.name);
    return list;
  }();
  return names;
}

Recipe Recipe::named(const std::string& name) {
  std::string known;
  for (const Named& recipe : all()) {
    if (name == recipe.name) {
      json keys = recipe.keys;
      keys["name"] = name;
      return recipe::parse(keys);
    }
    known += recipe.name + std::string(", ");
  }
  throw Error("recipe: expected one of " + known + "or a path or mapping, got '" + name + "'");
}

}  // namespace qat
