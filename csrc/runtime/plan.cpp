#include "runtime/plan.h"

#include "runtime/channel_shuffle.h"
#include "runtime/channels_last.h"
#include "runtime/elementwise_chain.h"
#include "runtime/fast_layers.h"
#include "runtime/fast_lookup.h"

namespace qat::runtime {
namespace {

class Planner {
 public:
  Planner(const graph::Model& model, const AtenEvaluator& aten, kernels::u8s8::InstructionSet set)
      : model_(model), aten_(aten), set_(set), uses_(model.graph) {
    exists_.assign(model.graph.values.size() * 2, false);
    for (const int64_t input : model.graph.inputs) exists_[slot(input, Layout::row_major)] = true;
  }

  Plan make() {
    const graph::Graph& graph = model_.graph;
    std::vector<int64_t> layers;
    for (size_t i = 0; i < graph.nodes.size(); ++i) {
      if (has_fast_layer(graph.nodes[i])) layers.push_back(static_cast<int64_t>(i));
    }
    const Chains chains = find_chains(graph, uses_, layers);
    std::vector<bool> shuffled(graph.nodes.size(), false);
    for (size_t i = 0; i < graph.nodes.size(); ++i) {
      const int64_t index = chains.chain_of[i];
      if (index >= 0) {
        const Chain& chain = chains.chains[static_cast<size_t>(index)];
        if (chain.last_node() == static_cast<int64_t>(i)) add_chain(chain);
      } else if (const auto shuffle = find_shuffle(graph, uses_, static_cast<int64_t>(i))) {
        for (const int64_t node : shuffle->nodes) shuffled[static_cast<size_t>(node)] = true;
        add_shuffle(*shuffle);
      } else if (!shuffled[i]) {
        add_node(graph.nodes[i]);
      }
    }
    for (const int64_t output : graph.outputs) need(output, Layout::row_major, nullptr);
    mark_dead();
    return std::move(plan_);
  }

 private:
  // The slot of a value in a layout, converted first where it exists in the other one only.
  size_t need(int64_t value, Layout layout, const graph::Node* node) {
    const size_t wanted = slot(value, layout);
    if (exists_[wanted]) return wanted;
    const Layout other = layout == Layout::row_major ? Layout::channels_last : Layout::row_major;
    Step step;
    step.node = node;
    step.bind = make_layout_change(layout);
    step.inputs = {slot(value, other)};
    step.outputs = {wanted};
    add(std::move(step));
    return wanted;
  }

  void add(Step step) {
    for (const size_t output : step.outputs) exists_[output] = true;
    plan_.steps.push_back(std::move(step));
  }

  void add_chain(const Chain& chain) {
    std::vector<int64_t> inputs{chain.input};
    for (const ChainStage& stage : chain.stages) {
      if (stage.operand >= 0) inputs.push_back(stage.operand);
    }
    const int64_t named = chain.layer >= 0 ? chain.layer : chain.last_node();
    const graph::Node& node = model_.graph.nodes[static_cast<size_t>(named)];
    Layout layout = Layout::row_major;
    Step step;
    step.node = &node;
    if (chain.layer < 0) {
      layout = choose_layout(inputs);
      step.bind = make_elementwise_chain({model_, node}, chain, layout);
    } else {
      const bool is_conv = std::holds_alternative<graph::ConvAttributes>(node.attributes);
      if (is_conv) layout = Layout::channels_last;
      step.bind = make_fast_layer({model_, node}, chain, set_);
    }
    for (const int64_t input : inputs) step.inputs.push_back(need(input, layout, &node));
    step.outputs = {slot(chain.output, layout)};
    add(std::move(step));
  }

  void add_shuffle(const ChannelShuffle& shuffle) {
    const auto node = [&](int64_t i) -> const graph::Node& {
      return model_.graph.nodes[static_cast<size_t>(i)];
    };
    const int64_t input = node(shuffle.nodes.front()).inputs[0];
    const graph::Node& last = node(shuffle.nodes.back());
    const Layout layout = choose_layout({input});
    Step step;
    step.node = &last;
    step.bind = make_channel_shuffle(last, shuffle, layout);
    step.inputs = {need(input, layout, &last)};
    step.outputs = {slot(last.outputs[0], layout)};
    add(std::move(step));
  }

  // Channels-last where all values have four axes and one of them already is.
  Layout choose_layout(const std::vector<int64_t>& values) const {
    bool exists = false;
    for (const int64_t value : values) {
      if (model_.graph.values[static_cast<size_t>(value)].shape.size() != 4) {
        return Layout::row_major;
      }
      exists = exists || exists_[slot(value, Layout::channels_last)];
    }
    return exists ? Layout::channels_last : Layout::row_major;
  }

  // A quantize whose result some convolution reads changes the layout on its way.
  bool quantizes_for_conv(const graph::Node& node) const {
    if (!std::holds_alternative<graph::QuantizeAttributes>(node.attributes)) return false;
    const graph::Value& input = model_.graph.values[static_cast<size_t>(node.inputs[0])];
    if (input.shape.size() != 4) return false;
    for (const int64_t i : uses_.readers(node.outputs[0])) {
      const graph::Node& reader = model_.graph.nodes[static_cast<size_t>(i)];
      if (!has_fast_layer(reader) || reader.inputs[0] != node.outputs[0]) continue;
      if (std::holds_alternative<graph::ConvAttributes>(reader.attributes)) return true;
    }
    return false;
  }

  void set_row_major(const graph::Node& node, Step& step) {
    const Site site{model_, node};
    if (const auto* aten = std::get_if<graph::AtenAttributes>(&node.attributes)) {
      step.run = make_aten(site, *aten, aten_);
    } else if (const auto* constant = std::get_if<graph::ConstantAttributes>(&node.attributes)) {
      step.constant = &constant_tensor(site, *constant);
    } else if (const auto* lookup = std::get_if<graph::LookupAttributes>(&node.attributes)) {
      step.bind = make_fast_lookup(site, *lookup);
    } else {
      step.bind = make_operator(site);
    }
  }

  void add_node(const graph::Node& node) {
    Layout layout =
        runs_channels_last(model_.graph, node) ? choose_layout(node.inputs) : Layout::row_major;
    Step step;
    step.node = &node;
    for (const int64_t input : node.inputs) step.inputs.push_back(need(input, layout, &node));
    if (layout == Layout::channels_last) {
      step.bind = make_channels_last({model_, node}, plan_.rewritten);
    } else if (quantizes_for_conv(node)) {
      step.bind = make_quantize_to_channels_last({model_, node});
      layout = Layout::channels_last;
    } else {
      set_row_major(node, step);
    }
    for (const int64_t output : node.outputs) {
      const size_t rank = model_.graph.values[static_cast<size_t>(output)].shape.size();
      step.outputs.push_back(slot(output, rank == 4 ? layout : Layout::row_major));
    }
    add(std::move(step));
  }

  void mark_dead() {
    std::vector<bool> needed(exists_.size(), false);
    for (const int64_t output : model_.graph.outputs) {
      needed[slot(output, Layout::row_major)] = true;
    }
    for (size_t i = plan_.steps.size(); i-- > 0;) {
      Step& step = plan_.steps[i];
      for (const auto* slots : {&step.inputs, &step.outputs}) {
        for (const size_t s : *slots) {
          if (needed[s]) continue;
          needed[s] = true;
          step.dead.push_back(s);
        }
      }
    }
  }

  const graph::Model& model_;
  const AtenEvaluator& aten_;
  const kernels::u8s8::InstructionSet set_;
  const ValueUses uses_;
  std::vector<bool> exists_;
  Plan plan_;
};

}  // namespace

Plan make_plan(const graph::Model& model, const AtenEvaluator& aten,
               kernels::u8s8::InstructionSet set) {
  return Planner(model, aten, set).make();
}

}  // namespace qat::runtime
