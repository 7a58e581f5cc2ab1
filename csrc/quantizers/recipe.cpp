#include "quantizers/recipe.h"

#include <nlohmann/json.hpp>

#include "error.h"
#include "quantizers/compression.h"
#include "quantizers/learned_range.h"
#include "quantizers/oscillation.h"
#include "quantizers/recipe_fields.h"
#include "quantizers/weight_quantizer.h"

namespace qat {
namespace {

using nlohmann::json;
using numerics::kMaxBits;
using numerics::kMinBits;
using recipe::Bounds;
using recipe::Choices;
using recipe::Reader;
using recipe::Writer;

constexpr Bounds kShare{0.0, 1.0};

const Choices<Target> kTargets = {{"x86", Target::x86}, {"tensorrt", Target::tensorrt}};
const Choices<Granularity> kGranularities = {{"tensor", Granularity::tensor},
                                             {"channel", Granularity::channel},
                                             {"group", Granularity::group}};
const Choices<Rounding> kRoundings = {{"nearest", Rounding::nearest},
                                      {"stochastic", Rounding::stochastic}};
const Choices<ForwardType> kForwardTypes = {{"integer", ForwardType::integer},
                                            {"float32", ForwardType::float32}};
const Choices<GradientType> kGradientTypes = {{"float32", GradientType::float32},
                                              {"int16", GradientType::int16},
                                              {"bfloat16", GradientType::bfloat16}};
const Choices<SavedValue> kSavedValues = {{"float32", SavedValue::float32},
                                          {"float16", SavedValue::float16},
                                          {"recompute", SavedValue::recompute}};

const Choices<PruneMethod> kPruneMethods = {{"none", PruneMethod::none},
                                            {"magnitude", PruneMethod::magnitude},
                                            {"2:4", PruneMethod::two_of_four},
                                            {"channel", PruneMethod::channel}};

// One list of fields for each section; `Visitor` is a Reader or a Writer.
template <typename Visitor>
void fields(Visitor& visit, WeightRecipe& w) {
  visit.integer("bits", w.bits, kMinBits, kMaxBits);
  visit.choice("granularity", w.granularity, kGranularities);
  visit.integer("group", w.group, 2, 1 << 16);
  visit.boolean("symmetric", w.symmetric);
  visit.boolean("power_of_two", w.power_of_two);
  visit.word("method", w.method, weight_methods());
  visit.choice("rounding", w.rounding, kRoundings);
  visit.number("noise", w.noise, kShare);
}

template <typename Visitor>
void fields(Visitor& visit, ActivationRecipe& a) {
  visit.integer("bits", a.bits, kMinBits, kMaxBits);
  visit.boolean("symmetric", a.symmetric);
  visit.boolean("power_of_two", a.power_of_two);
  visit.word("method", a.method, activation_methods());
  visit.number("momentum", a.momentum, {0.0, 1.0, false});
  visit.number("percentile", a.percentile, {50.0, 100.0, false});
  visit.word("init", a.init, observer_names());
}

template <typename Visitor>
void fields(Visitor& visit, SiteRule& rule) {
  visit.text("sites", rule.sites);
  visit.boolean("keep_float", rule.keep_float);
  visit.integer("weight_bits", rule.weight_bits, kMinBits, kMaxBits);
  visit.integer("activation_bits", rule.activation_bits, kMinBits, kMaxBits);
  visit.word("weight_method", rule.weight_method, weight_methods());
  visit.word("activation_method", rule.activation_method, activation_methods());
  visit.number("start", rule.start, kShare);
  visit.boolean("prune", rule.prune);
  visit.boolean("cluster", rule.cluster);
}

template <typename Visitor>
void fields(Visitor& visit, BitsStage& stage) {
  visit.number("until", stage.until, {0.0, 1.0, false});
  visit.integer("weights", stage.weights, kMinBits, kMaxBits);
  visit.integer("activations", stage.activations, kMinBits, kMaxBits);
}

template <typename Visitor>
void fields(Visitor& visit, QuantizeSchedule& schedule) {
  visit.number("start", schedule.start, kShare);
}

template <typename Visitor>
void fields(Visitor& visit, OscillationRecipe& oscillation) {
  visit.number("damping", oscillation.damping, {0.0, 1e6});
  visit.number("freeze", oscillation.freeze, kShare);
  visit.number("momentum", oscillation.momentum, {0.0, 1.0, false});
}

template <typename Visitor>
void fields(Visitor& visit, PruneRecipe& prune) {
  visit.choice("method", prune.method, kPruneMethods);
  visit.number("sparsity", prune.sparsity, kShare);
  visit.number("start", prune.start, kShare);
  visit.number("end", prune.end, kShare);
}

template <typename Visitor>
void fields(Visitor& visit, ClusterRecipe& cluster) {
  visit.integer("values", cluster.values, 0, 128);
}

template <typename Visitor>
void fields(Visitor& visit, LearnedRecipe& learned) {
  visit.number("lr", learned.lr, {0.0, 1000.0, false});
  visit.number("weight_decay", learned.weight_decay, kShare);
}

template <typename Visitor>
void fields(Visitor& visit, FreezeSchedule& freeze) {
  visit.number("batch_norm", freeze.batch_norm, kShare);
  visit.number("ranges", freeze.ranges, kShare);
  visit.number("convergence", freeze.convergence, kShare);
}

template <typename Visitor>
void fields(Visitor& visit, NumericsRecipe& n) {
  visit.choice("forward", n.forward, kForwardTypes);
  visit.boolean("fused", n.fused);
  visit.choice("backward", n.backward, kGradientTypes);
  visit.choice("save", n.save, kSavedValues);
}

template <typename Part>
void read(const json* object, const std::string& path, Part& part) {
  if (object == nullptr) return;
  Reader reader(*object, path);
  fields(reader, part);
  reader.finish();
}

template <typename Part>
json written(Part part) {
  Writer writer;
  fields(writer, part);
  return writer.object;
}

void read_schedule(const json* object, QuantizeSchedule& schedule) {
  if (object == nullptr) return;
  const std::string path = "recipe.schedule";
  Reader reader(*object, path);
  fields(reader, schedule);
  const json* stages = reader.take("stages");
  reader.finish();
  if (stages == nullptr) return;
  if (!stages->is_array()) reader.fail("stages", "expected a list, got " + stages->dump());
  for (size_t i = 0; i < stages->size(); ++i) {
    const std::string name = "stages[" + std::to_string(i) + "]";
    BitsStage stage;
    read(&(*stages)[i], path + "." + name, stage);
    const bool ascends = schedule.stages.empty() || stage.until > schedule.stages.back().until;
    if (!ascends) reader.fail(name + ".until", "expected more than that of the stage before");
    schedule.stages.push_back(stage);
  }
}

json written(const QuantizeSchedule& schedule) {
  Writer writer;
  QuantizeSchedule copy = schedule;
  fields(writer, copy);
  json stages = json::array();
  for (const BitsStage& stage : schedule.stages) stages.push_back(written(stage));
  writer.object["stages"] = stages;
  return writer.object;
}

SiteRule rule_from(const json& object, const std::string& path) {
  SiteRule rule;
  read(&object, path, rule);
  if (rule.sites.empty()) throw Error(path + ".sites: a pattern of site names is missing");
  return rule;
}

// What a method cannot do is said up front, also where a rule makes the combination.
void check_methods(const Recipe& recipe) {
  check_weight_recipe(recipe.weights, "recipe.weights");
  check_activation_recipe(recipe.activations, "recipe.activations");
  for (size_t i = 0; i < recipe.rules.size(); ++i) {
    const SiteRule& rule = recipe.rules[i];
    const std::string path = "recipe.rules[" + std::to_string(i) + "]";
    if (rule.weight_bits || rule.weight_method) {
      check_weight_recipe(rule.apply(recipe.weights), path);
    }
    if (rule.activation_bits || rule.activation_method) {
      check_activation_recipe(rule.apply(recipe.activations), path);
    }
  }
}

// Keys over those of a named recipe; a list replaces the list.
json with_base(const json& given) {
  if (!given.is_object() || !given.contains("base")) return given;
  const json& base = given["base"];
  if (!base.is_string()) throw Error("recipe.base: expected a name, got " + base.dump());
  json merged = Recipe::named(base.get<std::string>()).to_json();
  merged["name"] = base.get<std::string>() + "-changed";
  json over = given;
  over.erase("base");
  merged.merge_patch(over);
  return merged;
}

}  // namespace

WeightRecipe WeightRecipe::with_bits(int count) const {
  WeightRecipe to = *this;
  to.bits = count;
  if (count == kMaxBits) {
    to.symmetric = true;
    to.noise = 0.0;
  }
  return to;
}

WeightRecipe SiteRule::apply(WeightRecipe to) const {
  if (weight_bits) to = to.with_bits(*weight_bits);
  if (weight_method) to.method = *weight_method;
  return to;
}

ActivationRecipe SiteRule::apply(ActivationRecipe to) const {
  if (activation_bits) to.bits = *activation_bits;
  if (activation_method) to.method = *activation_method;
  return to;
}

Recipe recipe::parse(const json& object) {
  Reader reader(object, "recipe");
  Recipe recipe;
  reader.text("name", recipe.name);
  reader.choice("target", recipe.target, kTargets);
  recipe.activations.symmetric = recipe.target == Target::tensorrt;
  read(reader.take("weights"), "recipe.weights", recipe.weights);
  read(reader.take("activations"), "recipe.activations", recipe.activations);
  if (const json* rules = reader.take("rules")) {
    if (!rules->is_array()) reader.fail("rules", "expected a list, got " + rules->dump());
    for (size_t i = 0; i < rules->size(); ++i) {
      recipe.rules.push_back(rule_from((*rules)[i], "recipe.rules[" + std::to_string(i) + "]"));
    }
  }
  read(reader.take("learned"), "recipe.learned", recipe.learned);
  read_schedule(reader.take("schedule"), recipe.schedule);
  read(reader.take("freeze"), "recipe.freeze", recipe.freeze);
  read(reader.take("oscillation"), "recipe.oscillation", recipe.oscillation);
  read(reader.take("prune"), "recipe.prune", recipe.prune);
  read(reader.take("cluster"), "recipe.cluster", recipe.cluster);
  read(reader.take("numerics"), "recipe.numerics", recipe.numerics);
  reader.finish();
  if (recipe.target == Target::tensorrt && !recipe.activations.symmetric) {
    reader.fail("activations.symmetric", "target tensorrt takes symmetric activations, got false");
  }
  check_methods(recipe);
  check_compression(recipe);
  check_oscillation(recipe);
  return recipe;
}

Recipe Recipe::from_json(const json& given) {
  if (given.is_string()) return named(given.get<std::string>());
  const Recipe parsed = recipe::parse(with_base(given));
  const auto& names = recipe_names();
  const bool taken = parsed.name != Recipe().name &&
                     std::find(names.begin(), names.end(), parsed.name) != names.end();
  if (taken && parsed != named(parsed.name)) {
    throw Error("recipe.name: '" + parsed.name +
                "' names a recipe that these keys differ from; write base: " + parsed.name +
                " to start from it, or choose another name");
  }
  return parsed;
}

json Recipe::to_json() const {
  json rule_list = json::array();
  for (const SiteRule& rule : rules) rule_list.push_back(written(rule));
  Writer writer;
  writer.choice("target", target, kTargets);
  writer.object.update({{"name", name},
                        {"weights", written(weights)},
                        {"activations", written(activations)},
                        {"rules", rule_list},
                        {"learned", written(learned)},
                        {"schedule", written(schedule)},
                        {"freeze", written(freeze)},
                        {"oscillation", written(oscillation)},
                        {"prune", written(prune)},
                        {"cluster", written(cluster)},
                        {"numerics", written(numerics)}});
  return writer.object;
}

}  // namespace qat
