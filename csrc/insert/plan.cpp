#include "insert/plan.h"

#include <numeric>

#include "insert/site_name.h"

namespace qat::insert {
namespace {

using capture::Kind;
using capture::kNoValue;
using capture::Source;
using capture::Trace;
using capture::TraceNode;
using capture::TraceValue;

capture::Arguments arguments_of(const TraceNode& node, const std::vector<c10::IValue>& plain) {
  return {node.op.schema(), plain.data()};
}

// Settings of one site after the recipe's rules.
struct SiteSettings {
  bool keep_float = false;
  WeightRecipe weight;
  ActivationRecipe activation;
  double start = 0.0;
};

SiteSettings settings_for(const Recipe& recipe, const SiteName& site) {
  SiteSettings settings{false, recipe.weights, recipe.activations, recipe.schedule.start};
  for (const SiteRule& rule : recipe.rules) {
    if (!site.matches(rule.sites)) continue;
    settings.keep_float = rule.keep_float;
    settings.weight = rule.apply(settings.weight);
    settings.activation = rule.apply(settings.activation);
    settings.start = rule.start.value_or(settings.start);
  }
  return settings;
}

class Planner {
 public:
  Planner(const Trace& trace, const Recipe& recipe)
      : trace_(trace),
        recipe_(recipe),
        ends_(trace),
        readers_(trace.values.size()),
        integer_made_(trace.values.size(), false),
        needs_codes_(trace.values.size(), false),
        leader_(trace.values.size()) {
    std::iota(leader_.begin(), leader_.end(), 0);
  }

  Plan make() {
    plan_.sites.resize(trace_.nodes.size());
    plan_.value_quantizer.assign(trace_.values.size(), kNoQuantizer);
    plan_.numerics = recipe_.numerics;
    count_readers();
    for (size_t i = 0; i < trace_.nodes.size(); ++i) classify(i);
    for (size_t i = trace_.nodes.size(); i-- > 0;) propagate(i);
    assign_value_quantizers();
    assign_edge_quantizers();
    complete_starts(trace_, plan_);
    for (size_t i = 0; i < trace_.nodes.size(); ++i) {
      plan_.node_of_key.emplace(trace_.nodes[i].key, static_cast<int64_t>(i));
    }
    return std::move(plan_);
  }

 private:
  const TraceValue& value(int64_t id) const { return trace_.values[id]; }
  const TraceNode* producer(int64_t id) const {
    return value(id).source == Source::node ? &trace_.nodes[value(id).index] : nullptr;
  }

  void count_readers() {
    for (const TraceNode& node : trace_.nodes) {
      for (const int64_t id : node.inputs()) ++readers_[id];
    }
    for (const int64_t id : trace_.outputs) ++readers_[id];
  }

  // A value that the last layer reads counts as the last layer's.
  SiteName value_name(const TraceNode& maker, int64_t id) {
    SiteName name = ends_.name_of(maker);
    name.last = ends_.last != nullptr && leader(layer_input(*ends_.last)) == leader(id);
    name.first = false;
    return name;
  }

  bool made_by_integers(int64_t id) const { return id != kNoValue && integer_made_[id]; }

  // Why a layer cannot be computed in integers; empty when it can.
  std::string layer_obstacle(const TraceNode& node, size_t input, size_t weight,
                             const std::string& unsupported) const {
    if (!unsupported.empty()) return unsupported;
    const auto& in = node.arguments[input].values;
    const auto& w = node.arguments[weight].values;
    if (in.empty() || w.empty()) return "an operand is missing";
    if (value(w[0]).depends_on_input) return "its second operand depends on the input";
    if (!value(in[0]).depends_on_input) return "its input does not depend on the model's input";
    if (!value(in[0]).is_float() || !value(w[0]).is_float()) return "its operands are not float32";
    if (settings_for(recipe_, ends_.name_of(node)).keep_float) return "kept float by the recipe";
    return {};
  }

  void note_weight(const TraceNode& node, size_t argument, SitePlan& site) {
    if (!site.reason.empty()) return;
    site.weight_parameter = value(node.arguments[argument].values[0]).parameter;
    if (!site.weight_parameter.empty()) plan_.layer_parameters.insert(site.weight_parameter);
  }

  void classify_layer(const TraceNode& node, SitePlan& site) {
    const auto plain = node.plain_arguments();
    const auto arguments = arguments_of(node, plain);
    if (node.kind == Kind::conv) {
      const auto shape = [&](size_t argument) { return value_shape(node, argument); };
      const auto call =
          capture::parse_conv(arguments, static_cast<int64_t>(shape(0).size()), shape(1));
      const bool transposed = call.geometry.transposed;
      site.weight_shape = {shape(1), transposed ? 1 : 0, transposed ? call.geometry.groups : 1};
      site.reason = layer_obstacle(node, call.input, call.weight, call.unsupported);
      note_weight(node, call.weight, site);
    } else {
      const auto call = capture::parse_linear(arguments);
      site.reason = layer_obstacle(node, call.input, call.weight, call.unsupported);
      const bool matrix = value_shape(node, call.weight).size() == 2;
      site.weight_shape.sizes = value_shape(node, call.weight);
      if (matrix && call.weight_transposed)
        std::swap(site.weight_shape.sizes[0], site.weight_shape.sizes[1]);
      if (site.reason.empty() && !matrix) site.reason = "its second operand is no matrix";
      note_weight(node, call.weight, site);
    }
    site.integer = site.reason.empty();
    site.weight = settings_for(recipe_, ends_.name_of(node)).weight;
  }

  std::vector<int64_t> value_shape(const TraceNode& node, size_t argument) const {
    std::vector<int64_t> sizes;
    if (node.arguments[argument].values.empty()) return sizes;
    for (const auto& size : value(node.arguments[argument].values[0]).shape) {
      sizes.push_back(size.at(2));
    }
    return sizes;
  }

  bool all_inputs_integer_made(const TraceNode& node) const {
    for (const int64_t id : node.inputs()) {
      if (!made_by_integers(id)) return false;
    }
    return !node.inputs().empty();
  }

  bool whole_factors(const TraceNode& node) const {
    const auto& in = value(node.inputs()[0]).shape;
    const auto& out = value(node.outputs[0]).shape;
    for (size_t i = 2; i < in.size(); ++i) {
      if (in[i].constant == 0 || out[i].constant % in[i].constant != 0) return false;
    }
    return true;
  }

  // "max_pool2d" on [N, C, H, W]. ATen takes [C, H, W] too, the graph does not.
  bool pools_batches(const TraceNode& node) const {
    const char spatial = node.stem[node.stem.size() - 2];
    return value(node.inputs()[0]).rank() == spatial - '0' + 2;
  }

  bool joins_chain(const TraceNode& node) const {
    const auto plain = node.plain_arguments();
    const auto arguments = arguments_of(node, plain);
    const auto inputs = node.inputs();
    const bool first = !inputs.empty() && made_by_integers(inputs[0]);
    switch (node.kind) {
      case Kind::batch_norm:  // needs running statistics
        return first && !node.arguments[*arguments.index_of("running_mean")].values.empty();
      case Kind::binary: {
        if (!capture::parse_binary(arguments, node.stem) || inputs.size() != 2) return false;
        const bool any = first || made_by_integers(inputs[1]);
        return any && value(inputs[0]).is_float() && value(inputs[1]).is_float();
      }
      case Kind::mean:
        return first && capture::parse_mean(arguments, value(inputs[0]).rank()).has_value();
      case Kind::pad:
        return first && capture::parse_pad(arguments, value(inputs[0]).rank()).has_value();
      case Kind::concat:
        return all_inputs_integer_made(node);
      case Kind::activation:
      case Kind::prelu:
      case Kind::unary:
        return first;
      case Kind::max_pool:
      case Kind::avg_pool:
      case Kind::adaptive_avg_pool:
        return first && pools_batches(node);
      case Kind::reshape:
      case Kind::permute:
      case Kind::slice:
      case Kind::split:
      case Kind::upsample_nearest:
      case Kind::dropout:
      case Kind::identity:
        return first;
      default:
        return false;
    }
  }

  void classify(size_t index) {
    const TraceNode& node = trace_.nodes[index];
    SitePlan& site = plan_.sites[index];
    if (node.kind == Kind::conv || node.kind == Kind::linear) {
      classify_layer(node, site);
    } else {
      site.integer = joins_chain(node);
      if (!site.integer) site.reason = "float island";
    }
    if (site.integer) site.start = settings_for(recipe_, ends_.name_of(node)).start;
    for (const int64_t id : node.outputs) {
      integer_made_[id] = site.integer && value(id).is_float() && value(id).depends_on_input;
    }
  }

  int64_t leader(int64_t id) {
    while (leader_[id] != id) id = leader_[id] = leader_[leader_[id]];
    return id;
  }
  void share(int64_t a, int64_t b) { leader_[leader(a)] = leader(b); }

  void need_codes(int64_t id) {
    if (made_by_integers(id)) needs_codes_[id] = true;
  }

  bool any_output_needs_codes(const TraceNode& node) const {
    for (const int64_t id : node.outputs) {
      if (needs_codes_[id]) return true;
    }
    return false;
  }

  // An operand of an addition may stay unrounded when nobody else reads it and it is the pending
  // result of a chain.
  bool enters_unrounded(int64_t id) const {
    const TraceNode* node = producer(id);
    if (node == nullptr || readers_[id] > 1) return false;
    switch (node->kind) {
      case Kind::conv:
      case Kind::linear:
      case Kind::batch_norm:
      case Kind::activation:
      case Kind::prelu:
      case Kind::binary:
      case Kind::avg_pool:
      case Kind::adaptive_avg_pool:
      case Kind::mean:
        return true;
      default:
        return false;
    }
  }

  // Decides what the node's inputs must be, once it is known what its readers need.
  void propagate(size_t index) {
    const TraceNode& node = trace_.nodes[index];
    if (!plan_.sites[index].integer) return;
    const auto inputs = node.inputs();
    const bool codes_out = any_output_needs_codes(node);
    switch (node.kind) {
      case Kind::conv:
      case Kind::linear:
        need_codes(layer_input(node));
        break;
      case Kind::max_pool:  // on codes, whatever follows
        need_codes(inputs[0]);
        need_codes(node.outputs[0]);
        share(inputs[0], node.outputs[0]);
        break;
      case Kind::avg_pool:
      case Kind::adaptive_avg_pool:
      case Kind::mean:
      case Kind::unary:
        need_codes(inputs[0]);
        break;
      case Kind::batch_norm:
        if (!folds(node)) need_codes(inputs[0]);
        break;
      case Kind::binary:
        for (const int64_t id : inputs) {
          if (codes_out && !enters_unrounded(id)) need_codes(id);
        }
        break;
      case Kind::concat:
      case Kind::reshape:
      case Kind::permute:
      case Kind::slice:
      case Kind::split:
      case Kind::pad:
      case Kind::upsample_nearest:
      case Kind::dropout:
      case Kind::identity:
        if (!codes_out) break;
        for (const int64_t id : node.outputs) need_codes(id);
        for (const int64_t id : inputs) {
          need_codes(id);
          share(id, node.outputs[0]);
        }
        for (const int64_t id : node.outputs) share(id, node.outputs[0]);
        break;
      default:
        break;
    }
  }

  int64_t layer_input(const TraceNode& node) const {
    const bool addmm = node.op.schema().name() == "aten::addmm";
    return node.arguments[addmm ? 1 : 0].values[0];
  }

  // Batch norm right behind a layer whose result nobody holds as codes.
  bool folds(const TraceNode& node) const {
    const TraceNode* layer = producer(node.inputs()[0]);
    return layer != nullptr && (layer->kind == Kind::conv || layer->kind == Kind::linear);
  }

  int add_quantizer(const std::string& name, const SiteName& site) {
    const SiteSettings settings = settings_for(recipe_, site);
    plan_.quantizers.push_back({name, settings.activation});
    return static_cast<int>(plan_.quantizers.size()) - 1;
  }

  // Values that share parameters share the quantizer, named by the first of them that is made.
  void assign_value_quantizers() {
    std::unordered_map<int64_t, int> of_leader;
    for (size_t i = 0; i < trace_.nodes.size(); ++i) {
      const TraceNode& node = trace_.nodes[i];
      for (const int64_t id : node.outputs) {
        if (!needs_codes_[id]) continue;
        const auto [entry, fresh] = of_leader.try_emplace(leader(id), kNoQuantizer);
        if (fresh) entry->second = add_quantizer(node.name, value_name(node, id));
        plan_.value_quantizer[id] = entry->second;
        plan_.sites[i].output = entry->second;
      }
    }
  }

  void assign_edge_quantizers() {
    std::unordered_map<int64_t, int> of_value;
    for (size_t i = 0; i < trace_.nodes.size(); ++i) {
      const TraceNode& node = trace_.nodes[i];
      const auto inputs = node.inputs();
      plan_.sites[i].operands.assign(inputs.size(), kNoQuantizer);
      const bool layer = node.kind == Kind::conv || node.kind == Kind::linear;
      if (!layer || !plan_.sites[i].integer) continue;
      const int64_t input = layer_input(node);
      for (size_t k = 0; k < inputs.size(); ++k) {
        if (inputs[k] != input || made_by_integers(input)) continue;
        const auto [entry, fresh] = of_value.try_emplace(input, kNoQuantizer);
        if (fresh) entry->second = add_quantizer(node.name + ".input", ends_.name_of(node));
        plan_.sites[i].operands[k] = entry->second;
      }
    }
  }

  const Trace& trace_;
  const Recipe& recipe_;
  Plan plan_;
  LayerEnds ends_;
  std::vector<int64_t> readers_;
  std::vector<bool> integer_made_;  // per value: comes out of integer work
  std::vector<bool> needs_codes_;
  std::vector<int64_t> leader_;  // union-find over values with shared parameters
};

}  // namespace

Plan make_plan(const Trace& trace, const Recipe& recipe) { return Planner(trace, recipe).make(); }

}  // namespace qat::insert
