#include "quantizers/recipe.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "error.h"

namespace qat {
namespace {

using nlohmann::json;

// Reads the keys of one JSON object; complains about what is left over.
class Section {
 public:
  Section(const json& object, std::string path) : object_(object), path_(std::move(path)) {
    if (!object.is_object()) fail("", "expected a mapping, got " + spelled(object));
  }

  void integer(const char* key, int& target, int lowest, int highest) {
    const json* value = take(key);
    if (value == nullptr) return;
    const bool fits = value->is_number_integer() && *value >= lowest && *value <= highest;
    if (!fits) {
      fail(key, "expected an integer from " + std::to_string(lowest) + " to " +
                    std::to_string(highest) + ", got " + spelled(*value));
    }
    target = value->get<int>();
  }
  void fraction(const char* key, double& target, bool zero_allowed) {
    const json* value = take(key);
    if (value == nullptr) return;
    const bool fits =
        value->is_number() && *value <= 1.0 && (zero_allowed ? *value >= 0.0 : *value > 0.0);
    if (!fits) {
      fail(key, std::string("expected a number in ") + (zero_allowed ? "[0, 1]" : "(0, 1]") +
                    ", got " + spelled(*value));
    }
    target = value->get<double>();
  }
  void boolean(const char* key, bool& target) {
    const json* value = take(key);
    if (value == nullptr) return;
    if (!value->is_boolean()) fail(key, "expected true or false, got " + spelled(*value));
    target = value->get<bool>();
  }
  void text(const char* key, std::string& target) {
    const json* value = take(key);
    if (value == nullptr) return;
    if (!value->is_string()) fail(key, "expected a text, got " + spelled(*value));
    target = value->get<std::string>();
  }
  template <typename Enum>
  void choice(const char* key, Enum& target, const std::vector<std::pair<const char*, Enum>>& all) {
    const json* value = take(key);
    if (value == nullptr) return;
    std::string names;
    for (const auto& [name, option] : all) {
      if (value->is_string() && value->get<std::string>() == name) {
        target = option;
        return;
      }
      names += (names.empty() ? "" : ", ") + std::string(name);
    }
    fail(key, "expected one of " + names + ", got " + spelled(*value));
  }
  const json* take(const char* key) {
    known_.emplace_back(key);
    const auto found = object_.find(key);
    return found == object_.end() ? nullptr : &*found;
  }
  void finish() {
    for (const auto& [key, value] : object_.items()) {
      if (std::find(known_.begin(), known_.end(), key) != known_.end()) continue;
      std::string names;
      for (const auto& name : known_) names += (names.empty() ? "" : ", ") + name;
      fail("", "unknown key '" + key + "'; known keys: " + names);
    }
  }
  std::string path() const { return path_; }

 private:
  static std::string spelled(const json& value) { return value.dump(); }
  [[noreturn]] void fail(const std::string& key, const std::string& message) const {
    throw Error(path_ + (key.empty() ? "" : "." + key) + ": " + message);
  }

  const json& object_;
  std::string path_;
  std::vector<std::string> known_;
};

WeightRecipe weights_from(const json& object, WeightRecipe w) {
  Section section(object, "recipe.weights");
  section.integer("bits", w.bits, numerics::kMinBits, numerics::kMaxBits);
  section.choice("granularity", w.granularity,
                 {{"tensor", Granularity::tensor}, {"channel", Granularity::channel}});
  section.boolean("power_of_two", w.power_of_two);
  section.finish();
  return w;
}

ActivationRecipe activations_from(const json& object, ActivationRecipe a) {
  Section section(object, "recipe.activations");
  section.integer("bits", a.bits, numerics::kMinBits, numerics::kMaxBits);
  section.boolean("symmetric", a.symmetric);
  section.boolean("power_of_two", a.power_of_two);
  section.fraction("momentum", a.momentum, false);
  section.finish();
  return a;
}

SiteRule rule_from(const json& object, size_t index) {
  Section section(object, "recipe.rules[" + std::to_string(index) + "]");
  SiteRule rule;
  section.text("sites", rule.sites);
  if (rule.sites.empty())
    throw Error(section.path() + ".sites: a pattern of site names is missing");
  section.boolean("keep_float", rule.keep_float);
  int bits = 0;
  section.integer("weight_bits", bits, numerics::kMinBits, numerics::kMaxBits);
  if (bits != 0) rule.weight_bits = bits;
  bits = 0;
  section.integer("activation_bits", bits, numerics::kMinBits, numerics::kMaxBits);
  if (bits != 0) rule.activation_bits = bits;
  section.finish();
  return rule;
}

FreezeSchedule freeze_from(const json& object, FreezeSchedule f) {
  Section section(object, "recipe.freeze");
  section.fraction("batch_norm", f.batch_norm, true);
  section.fraction("ranges", f.ranges, true);
  section.finish();
  return f;
}

const std::vector<std::pair<const char*, SavedValue>> kSavedValues = {
    {"float32", SavedValue::float32},
    {"float16", SavedValue::float16},
    {"recompute", SavedValue::recompute}};

NumericsRecipe numerics_from(const json& object, NumericsRecipe n) {
  Section section(object, "recipe.numerics");
  section.choice("backward", n.backward,
                 {{"float32", GradientType::float32}, {"int16", GradientType::int16}});
  section.choice("save", n.save, kSavedValues);
  section.finish();
  return n;
}

}  // namespace

Recipe Recipe::named(const std::string& name) {
  Recipe recipe;
  recipe.name = name;
  if (name == "int8") return recipe;
  if (name == "int8-symmetric") {
    recipe.target = Target::tensorrt;
    recipe.activations.symmetric = true;
    return recipe;
  }
  throw Error("recipe: expected one of int8, int8-symmetric, or a path or mapping, got '" + name +
              "'");
}

Recipe Recipe::from_json(const json& object) {
  if (object.is_string()) return named(object.get<std::string>());
  Section section(object, "recipe");
  Recipe recipe;
  section.text("name", recipe.name);
  section.choice("target", recipe.target, {{"x86", Target::x86}, {"tensorrt", Target::tensorrt}});
  recipe.activations.symmetric = recipe.target == Target::tensorrt;
  if (const json* weights = section.take("weights")) {
    recipe.weights = weights_from(*weights, recipe.weights);
  }
  if (const json* activations = section.take("activations")) {
    recipe.activations = activations_from(*activations, recipe.activations);
  }
  if (const json* rules = section.take("rules")) {
    if (!rules->is_array()) throw Error("recipe.rules: expected a list, got " + rules->dump());
    for (size_t i = 0; i < rules->size(); ++i) recipe.rules.push_back(rule_from((*rules)[i], i));
  }
  if (const json* freeze = section.take("freeze"))
    recipe.freeze = freeze_from(*freeze, recipe.freeze);
  if (const json* numerics = section.take("numerics"))
    recipe.numerics = numerics_from(*numerics, recipe.numerics);
  section.finish();
  if (recipe.target == Target::tensorrt && !recipe.activations.symmetric) {
    throw Error(
        "recipe.activations.symmetric: target tensorrt takes symmetric activations, got "
        "false");
  }
  return recipe;
}

json Recipe::to_json() const {
  json rule_list = json::array();
  for (const SiteRule& rule : rules) {
    json entry{{"sites", rule.sites}};
    if (rule.keep_float) entry["keep_float"] = true;
    if (rule.weight_bits) entry["weight_bits"] = *rule.weight_bits;
    if (rule.activation_bits) entry["activation_bits"] = *rule.activation_bits;
    rule_list.push_back(std::move(entry));
  }
  return {{"name", name},
          {"target", target == Target::x86 ? "x86" : "tensorrt"},
          {"weights",
           {{"bits", weights.bits},
            {"granularity", weights.granularity == Granularity::channel ? "channel" : "tensor"},
            {"power_of_two", weights.power_of_two}}},
          {"activations",
           {{"bits", activations.bits},
            {"symmetric", activations.symmetric},
            {"power_of_two", activations.power_of_two},
            {"momentum", activations.momentum}}},
          {"rules", rule_list},
          {"freeze", {{"batch_norm", freeze.batch_norm}, {"ranges", freeze.ranges}}},
          {"numerics",
           {{"backward", numerics.backward == GradientType::int16 ? "int16" : "float32"},
            {"save", kSavedValues.at(static_cast<size_t>(numerics.save)).first}}}};
}

}  // namespace qat
