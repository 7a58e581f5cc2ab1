#include "quantizers/compression.h"

#include <functional>
#include <numeric>

#include "error.h"
#include "quantizers/prune.h"

namespace qat {
namespace {

// Methods whose code of a weight that is exactly 0 is not 0.
bool loses_zero(const std::string& method) { return method == "binary" || method == "dorefa"; }

void check_sections(const PruneRecipe& prune, const ClusterRecipe& cluster) {
  if (prune.method == PruneMethod::none && !(prune == PruneRecipe())) {
    throw Error(
        "recipe.prune: its other keys have no effect without a method; set prune.method to "
        "magnitude, 2:4 or channel, or leave them out");
  }
  if (prune.end < prune.start) {
    throw Error("recipe.prune.end: expected at least prune.start, " + std::to_string(prune.start) +
                ", got " + std::to_string(prune.end));
  }
  if (prune.method == PruneMethod::two_of_four && prune.sparsity != 0.5) {
    throw Error("recipe.prune.sparsity: 2:4 keeps two of four weights; expected 0.5, got " +
                std::to_string(prune.sparsity));
  }
  const int values = cluster.values;
  if (values != 0 && (values < 2 || (values & (values - 1)) != 0)) {
    throw Error("recipe.cluster.values: expected a power of two from 2 to 128, or 0, got " +
                std::to_string(values));
  }
}

void check_prunable(const WeightRecipe& weight, const std::string& path) {
  if (!loses_zero(weight.method)) return;
  throw Error(path + ": method " + weight.method +
              " has no code for 0 and cannot go with recipe.prune; exclude the sites by a rule "
              "with prune: false, or take another method");
}

void check_clusterable(const WeightRecipe& weight, int values, const std::string& path) {
  const std::string with = " cannot go with recipe.cluster";
  const std::string mend = "; exclude the sites by a rule with cluster: false, or ";
  if (weight.method != "absmax") {
    throw Error(path + ": method " + weight.method + with + ", whose centroids are learned" + mend +
                "take method absmax");
  }
  if (weight.granularity != Granularity::tensor) {
    const bool channel = weight.granularity == Granularity::channel;
    throw Error(path + ": granularity " + (channel ? "channel" : "group") + with +
                ": one codebook for a layer needs one scale; set granularity: tensor");
  }
  if (!weight.symmetric) {
    throw Error(path + ": symmetric: false" + with +
                ", whose codes have no zero point; set symmetric: true");
  }
  if (weight.rounding == Rounding::stochastic || weight.noise != 0.0) {
    throw Error(path + ": random rounding" + with + mend + "set rounding: nearest and noise: 0");
  }
  const int most = 1 << (weight.bits - 1);
  if (values > most) {
    throw Error("recipe.cluster.values: expected at most " + std::to_string(most) +
                ", half of the codes of " + std::to_string(weight.bits) + " bits, got " +
                std::to_string(values));
  }
}

bool wants(const std::optional<bool>& rule, bool otherwise) { return rule.value_or(otherwise); }

}  // namespace

void check_compression(const Recipe& recipe) {
  check_sections(recipe.prune, recipe.cluster);
  const bool prunes = recipe.prune.method != PruneMethod::none;
  const bool clusters = recipe.cluster.values != 0;
  const OscillationRecipe& oscillation = recipe.oscillation;
  if (clusters && (oscillation.damping > 0 || oscillation.freeze > 0)) {
    throw Error(
        "recipe.oscillation: holds single weights and cannot go with recipe.cluster, which shares "
        "them; leave one of the two out");
  }
  if (prunes) check_prunable(recipe.weights, "recipe.weights");
  if (clusters) check_clusterable(recipe.weights, recipe.cluster.values, "recipe.weights");
  for (size_t i = 0; i < recipe.rules.size(); ++i) {
    const SiteRule& rule = recipe.rules[i];
    const std::string path = "recipe.rules[" + std::to_string(i) + "]";
    if (rule.keep_float) continue;
    if (wants(rule.prune, false) && !prunes) {
      throw Error(path + ".prune: true needs recipe.prune.method, got none");
    }
    if (wants(rule.cluster, false) && !clusters) {
      throw Error(path + ".cluster: true needs recipe.cluster.values, got 0");
    }
    if (!rule.weight_bits && !rule.weight_method) continue;
    const WeightRecipe weight = rule.apply(recipe.weights);
    if (prunes && wants(rule.prune, true)) check_prunable(weight, path);
    if (clusters && wants(rule.cluster, true)) {
      check_clusterable(weight, recipe.cluster.values, path);
    }
  }
}

SiteCompression SiteCompression::of(const Recipe& recipe, const SiteRules& rules,
                                    const std::string& site, const WeightRecipe& weight,
                                    const WeightShape& shape) {
  SiteCompression chosen;
  const std::string obstacle = prune_obstacle(recipe.prune.method, shape);
  if (rules.prune.value_or(false) && !obstacle.empty()) {
    throw Error("prepare: '" + site + "': prune: true: " + obstacle);
  }
  const bool by_default = obstacle.empty() && input_channels(shape) >= kFewInputChannels;
  if (rules.prune.value_or(by_default)) chosen.prune = recipe.prune.method;
  const int64_t elements =
      std::accumulate(shape.sizes.begin(), shape.sizes.end(), int64_t{1}, std::multiplies<>());
  if (rules.cluster.value_or(elements > recipe.cluster.values))
    chosen.values = recipe.cluster.values;
  if (chosen.prune != PruneMethod::none) check_prunable(weight, "prepare: '" + site + "'");
  if (chosen.values != 0) check_clusterable(weight, chosen.values, "prepare: '" + site + "'");
  return chosen;
}

}  // namespace qat
