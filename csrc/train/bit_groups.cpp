#include "train/bit_groups.h"

#include <algorithm>
#include <functional>
#include <numeric>
#include <utility>

#include "checkpoint/packing.h"
#include "insert/engine.h"

namespace qat::train {
namespace {

using capture::Kind;
using capture::TraceNode;
using insert::kNoQuantizer;

int64_t product(const std::vector<int64_t>& sizes) {
  return std::accumulate(sizes.begin(), sizes.end(), int64_t{1}, std::multiplies<>());
}

// One integer layer.
struct Layer {
  std::string site;
  int input = kNoQuantizer;
  std::string activation;  // the site whose rules name `input`
  GroupWeight weight;
  int64_t macs = 0;
  bool end = false;
};

// The quantizer of what the layer reads: of an edge into it alone, or of a value made as codes.
void find_input(const insert::Plan& plan, const TraceNode& node, size_t index, Layer& layer) {
  constexpr size_t kSuffix = sizeof(".input") - 1;
  for (const int quantizer : plan.sites[index].operands) {
    if (quantizer == kNoQuantizer) continue;
    const std::string& name = plan.quantizers[static_cast<size_t>(quantizer)].name;
    layer.input = quantizer;
    layer.activation = name.substr(0, name.size() - kSuffix);
    return;
  }
  for (const int64_t id : node.inputs()) {
    const int quantizer = plan.value_quantizer[static_cast<size_t>(id)];
    if (quantizer == kNoQuantizer) continue;
    layer.input = quantizer;
    layer.activation = plan.quantizers[static_cast<size_t>(quantizer)].name;
    return;
  }
}

// Each weight meets as many positions as its first axis is shared by: of the output, or of the
// input where the convolution is transposed.
int64_t macs_of(const capture::Trace& trace, const TraceNode& node, const WeightShape& shape) {
  const bool transposed = shape.axis == 1;
  const int64_t id = transposed ? node.inputs().at(0) : node.outputs.at(0);
  int64_t positions = 1;
  for (const auto& size : trace.values[static_cast<size_t>(id)].shape) positions *= size.at(1);
  return positions / shape.sizes.at(0) * product(shape.sizes);
}

std::vector<Layer> layers_of(const insert::Plan& plan, const capture::Trace& trace) {
  std::vector<Layer> layers;
  bool first = true, last_is_integer = false;
  for (size_t i = 0; i < trace.nodes.size(); ++i) {
    const TraceNode& node = trace.nodes[i];
    const insert::SitePlan& site = plan.sites[i];
    if (node.kind != Kind::conv && node.kind != Kind::linear) continue;
    last_is_integer = site.integer;
    Layer layer;
    layer.end = std::exchange(first, false);
    if (!site.integer) continue;
    layer.site = node.name;
    const std::string parameter =
        site.weight_parameter.empty() ? node.name + ".weight" : site.weight_parameter;
    layer.weight = {parameter, site.weight, site.weight_shape};
    layer.macs = macs_of(trace, node, site.weight_shape);
    find_input(plan, node, i, layer);
    layers.push_back(std::move(layer));
  }
  if (last_is_integer) layers.back().end = true;
  return layers;
}

template <typename T>
void add_once(std::vector<T>& to, const T& value) {
  if (std::find(to.begin(), to.end(), value) == to.end()) to.push_back(value);
}

void add_layer(BitGroup& group, const Layer& layer, bool activations) {
  group.sites.push_back(layer.site);
  group.macs += layer.macs;
  group.end = group.end || layer.end;
  if (activations) add_once(group.activations, layer.activation);
  const bool known = std::any_of(
      group.weights.begin(), group.weights.end(),
      [&](const GroupWeight& weight) { return weight.parameter == layer.weight.parameter; });
  if (!known) group.weights.push_back(layer.weight);
}

// A pattern that matches this name alone.
std::string literal(const std::string& name) {
  std::string pattern;
  for (const char c : name) {
    if (std::string("*?[\\").find(c) != std::string::npos) pattern += '\\';
    pattern += c;
  }
  return pattern;
}

SiteRule& rule_for(std::vector<SiteRule>& rules, const std::string& site) {
  const std::string pattern = literal(site);
  for (SiteRule& rule : rules) {
    if (rule.sites == pattern) return rule;
  }
  rules.push_back({});
  rules.back().sites = pattern;
  return rules.back();
}

}  // namespace

int64_t GroupWeight::numel() const { return product(shape.sizes); }

std::string BitGroup::name() const {
  std::string text;
  for (const std::string& site : sites) text += (text.empty() ? "" : " + ") + site;
  return text;
}

int64_t BitGroup::parameters() const {
  int64_t sum = 0;
  for (const GroupWeight& weight : weights) sum += weight.numel();
  return sum;
}

int64_t BitGroup::bytes(int bits) const {
  int64_t sum = 0;
  for (const GroupWeight& weight : weights) {
    sum += static_cast<int64_t>(checkpoint::packed_size(weight.numel(), bits).value());
  }
  return sum;
}

int64_t BitGroup::bit_operations(int bits) const {
  return macs * bits * (activations.empty() ? kMostBits : bits);
}

std::vector<BitGroup> bit_groups(PreparedModel& model, bool activations) {
  const std::vector<Layer> layers = layers_of(model.engine().plan, model.engine().trace);
  // The group of a layer is named by the smallest index of a layer that it is joined with.
  std::vector<size_t> leader(layers.size());
  std::iota(leader.begin(), leader.end(), size_t{0});
  for (size_t i = 0; i < layers.size(); ++i) {
    for (size_t k = 0; k < i; ++k) {
      const bool weight = layers[i].weight.parameter == layers[k].weight.parameter;
      const bool codes = activations && layers[i].input == layers[k].input;
      if (!weight && !codes) continue;
      const size_t from = std::max(leader[i], leader[k]), to = std::min(leader[i], leader[k]);
      std::replace(leader.begin(), leader.end(), from, to);
    }
  }
  std::vector<BitGroup> groups;
  for (size_t first = 0; first < layers.size(); ++first) {
    if (leader[first] != first) continue;
    BitGroup group;
    for (size_t i = first; i < layers.size(); ++i) {
      if (leader[i] == first) add_layer(group, layers[i], activations);
    }
    groups.push_back(std::move(group));
  }
  return groups;
}

Recipe eight_bits(Recipe recipe) {
  recipe.weights.bits = kMostBits;
  recipe.activations.bits = kMostBits;
  std::vector<SiteRule> kept;
  for (SiteRule rule : recipe.rules) {
    rule.weight_bits.reset();
    rule.activation_bits.reset();
    SiteRule nothing;
    nothing.sites = rule.sites;
    // A rule of nothing but a pattern takes back an earlier one that keeps sites in float.
    const bool matters = std::any_of(kept.begin(), kept.end(),
                                     [](const SiteRule& earlier) { return earlier.keep_float; });
    if (matters || !(rule == nothing)) kept.push_back(rule);
  }
  recipe.rules = kept;
  return recipe;
}

Recipe with_bits(Recipe base, const std::vector<BitGroup>& groups, const std::vector<int>& bits) {
  std::vector<SiteRule> rules;
  for (size_t i = 0; i < groups.size(); ++i) {
    if (bits.at(i) == kMostBits) continue;
    for (const std::string& site : groups[i].sites) rule_for(rules, site).weight_bits = bits[i];
    for (const std::string& site : groups[i].activations) {
      rule_for(rules, site).activation_bits = bits[i];
    }
  }
  base.rules.insert(base.rules.end(), rules.begin(), rules.end());
  return base;
}

}  // namespace qat::train
