#include "insert/compression.h"

#include "capture/channels.h"
#include "error.h"
#include "insert/site_name.h"

namespace qat::insert {
namespace {

using capture::Kind;
using capture::Trace;
using capture::TraceNode;

bool is_layer(const TraceNode& node) {
  return node.kind == Kind::conv || node.kind == Kind::linear;
}

// f(0) = 0.
bool keeps_zero(const TraceNode& node) {
  if (node.kind == Kind::unary) {
    return node.stem == "gelu" || node.stem == "silu" || node.stem == "tanh";
  }
  const auto plain = node.plain_arguments();
  const auto activation = capture::parse_activation({node.op.schema(), plain.data()}, node.stem);
  return numerics::activate(activation, 0.0f) == 0.0f;
}

int64_t conv_groups(const Trace& trace, const TraceNode& node) {
  const auto plain = node.plain_arguments();
  const auto& weight = trace.values[node.arguments[1].values[0]].shape;
  std::vector<int64_t> sizes;
  for (const auto& size : weight) sizes.push_back(size.constant);
  return capture::parse_conv({node.op.schema(), plain.data()}, static_cast<int64_t>(weight.size()),
                             sizes)
      .geometry.groups;
}

// Walks from a layer to the layer that reads its channels.
class ChannelWalk {
 public:
  ChannelWalk(const Trace& trace, const Plan& plan, int64_t node)
      : trace_(trace),
        plan_(plan),
        readers_(trace),
        layer_(trace.nodes[node]),
        value_(layer_.outputs[0]) {
    axis_ = layer_.kind == Kind::conv ? 1 : rank() - 1;
  }

  std::string obstacle() {
    if (layer_.kind == Kind::conv && conv_groups(trace_, layer_) != 1) return "it is grouped";
    for (bool first = true;; first = false) {
      const auto index = readers_.only(value_);
      if (!index) return "its channels have more than one reader, or are an output";
      const TraceNode& next = trace_.nodes[*index];
      if (!plan_.sites[*index].integer) return "'" + next.name + "' is computed in float";
      if (is_layer(next)) return reader_obstacle(next);
      if (first && next.kind == Kind::batch_norm) {
        if (!folds(next)) return "'" + next.name + "' has no gain and offset, or does not fold";
        batch_norm = *index;
      } else if (!passes(next)) {
        return "'" + next.name + "' mixes its channels or takes 0 to another value";
      }
      value_ = next.outputs[0];
    }
  }

  int64_t batch_norm = -1;

 private:
  bool image() const { return layer_.kind == Kind::conv; }
  bool passes(const TraceNode& node) const {
    return capture::channels_through(trace_, node, image(), keeps_zero).has_value();
  }
  int64_t rank() const { return trace_.values[value_].rank(); }

  std::string reader_obstacle(const TraceNode& reader) const {
    if (reader.inputs()[reader.op.schema().name() == "aten::addmm" ? 1 : 0] != value_) {
      return "'" + reader.name + "' reads its channels as a weight";
    }
    if (reader.kind == Kind::conv) {
      if (axis_ != 1 || rank() < 3) return "'" + reader.name + "' reads another axis";
      return conv_groups(trace_, reader) == 1 ? "" : "'" + reader.name + "' is grouped";
    }
    return axis_ == rank() - 1 ? "" : "'" + reader.name + "' reads another axis";
  }

  bool folds(const TraceNode& node) const {
    const auto& schema = node.op.schema();
    const auto given = [&](const char* name) {
      const auto index = schema.argumentIndexWithName(name);
      return index && !node.arguments[*index].values.empty();
    };
    return given("weight") && given("bias") && (layer_.kind == Kind::conv || rank() == 2);
  }

  const Trace& trace_;
  const Plan& plan_;
  capture::Readers readers_;
  const TraceNode& layer_;
  int64_t value_;
  int64_t axis_;
};

bool shares_weight(const Trace& trace, const Plan& plan, int64_t node) {
  const std::string& parameter = plan.sites[node].weight_parameter;
  if (parameter.empty()) return false;
  int64_t users = 0;
  for (size_t i = 0; i < trace.nodes.size(); ++i) {
    users += is_layer(trace.nodes[i]) && plan.sites[i].weight_parameter == parameter ? 1 : 0;
  }
  return users > 1;
}

}  // namespace

std::string channel_obstacle(const Trace& trace, const Plan& plan, int64_t node,
                             int64_t& batch_norm) {
  if (shares_weight(trace, plan, node)) return "another layer has the same weight";
  ChannelWalk walk(trace, plan, node);
  const std::string obstacle = walk.obstacle();
  batch_norm = obstacle.empty() ? walk.batch_norm : -1;
  return obstacle;
}

LayerCompression compression_of(const Trace& trace, const Plan& plan, const Recipe& recipe,
                                int64_t node) {
  const SiteName site_name = LayerEnds(trace).name_of(trace.nodes[node]);
  SiteRules rules;
  for (const SiteRule& rule : recipe.rules) {
    if (!site_name.matches(rule.sites)) continue;
    if (rule.prune) rules.prune = rule.prune;
    if (rule.cluster) rules.cluster = rule.cluster;
  }
  const SitePlan& site = plan.sites[node];
  const std::string& name = trace.nodes[node].name;
  LayerCompression chosen;
  chosen.site = SiteCompression::of(recipe, rules, name, site.weight, site.weight_shape);
  if (chosen.site.prune != PruneMethod::channel) return chosen;
  const std::string obstacle = channel_obstacle(trace, plan, node, chosen.batch_norm);
  if (obstacle.empty()) return chosen;
  if (rules.prune.value_or(false)) {
    throw Error("prepare: '" + name + "': prune: true: its channels cannot be removed, for " +
                obstacle);
  }
  chosen.site.prune = PruneMethod::none;
  return chosen;
}

}  // namespace qat::insert
