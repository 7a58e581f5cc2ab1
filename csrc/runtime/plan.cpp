#include "runtime/plan.h"

#include "runtime/channels_last.h"
#include "runtime/fast_layers.h"

namespace qat::runtime {
namespace {

class Planner {
 public:
  Planner(const graph::Model& model, const AtenEvaluator& aten, int threads,
          kernels::u8s8::InstructionSet set)
      : model_(model), aten_(aten), threads_(threads), set_(set) {
    exists_.assign(model.graph.values.size() * 2, false);
    for (const int64_t input : model.graph.inputs) exists_[slot(input, Layout::row_major)] = true;
  }

  Plan make() {
    const graph::Graph& graph = model_.graph;
    std::vector<int64_t> layers;
    for (size_t i = 0; i < graph.nodes.size(); ++i) {
      if (has_fast_layer(graph.nodes[i])) layers.push_back(static_cast<int64_t>(i));
    }
    const Chains chains = find_chains(graph, layers);
    for (size_t i = 0; i < graph.nodes.size(); ++i) {
      const int64_t chain = chains.chain_of[i];
      if (chain < 0) {
        add_node(graph.nodes[i]);
      } else if (chains.chains[static_cast<size_t>(chain)].last_node() == static_cast<int64_t>(i)) {
        add_layer(chains.chains[static_cast<size_t>(chain)]);
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

  void add_layer(const Chain& chain) {
    const graph::Node& node = model_.graph.nodes[static_cast<size_t>(chain.layer)];
    const bool is_conv = std::holds_alternative<graph::ConvAttributes>(node.attributes);
    const Layout layout = is_conv ? Layout::channels_last : Layout::row_major;
    Step step;
    step.node = &node;
    step.bind = make_fast_layer({model_, node, threads_}, chain, set_);
    step.inputs.push_back(need(node.inputs[0], layout, &node));
    for (const ChainStage& stage : chain.stages) {
      if (stage.operand >= 0) step.inputs.push_back(need(stage.operand, layout, &node));
    }
    step.outputs = {slot(chain.output, layout)};
    add(std::move(step));
  }

  // Channels-last where the operator can and an input already is.
  Layout choose_layout(const graph::Node& node) const {
    if (!runs_channels_last(model_.graph, node)) return Layout::row_major;
    for (const int64_t input : node.inputs) {
      if (exists_[slot(input, Layout::channels_last)]) return Layout::channels_last;
    }
    return Layout::row_major;
  }

  // A quantize whose result some convolution reads changes the layout on its way.
  bool quantizes_for_conv(const graph::Node& node) const {
    if (!std::holds_alternative<graph::QuantizeAttributes>(node.attributes)) return false;
    const graph::Value& input = model_.graph.values[static_cast<size_t>(node.inputs[0])];
    if (input.shape.size() != 4) return false;
    for (const graph::Node& reader : model_.graph.nodes) {
      if (!has_fast_layer(reader) || reader.inputs[0] != node.outputs[0]) continue;
      if (std::holds_alternative<graph::ConvAttributes>(reader.attributes)) return true;
    }
    return false;
  }

  void set_row_major(const graph::Node& node, Step& step) {
    const Site site{model_, node, threads_};
    if (std::holds_alternative<graph::QuantizeAttributes>(node.attributes)) {
      step.bind = make_fast_quantize(site);
    } else if (std::holds_alternative<graph::DequantizeAttributes>(node.attributes)) {
      step.bind = make_fast_dequantize(site);
    } else if (std::holds_alternative<graph::ReshapeAttributes>(node.attributes)) {
      step.bind = make_fast_copy(site);
    } else {
      step.run = make_operator(site, aten_);
    }
  }

  void add_node(const graph::Node& node) {
    Layout layout = choose_layout(node);
    Step step;
    step.node = &node;
    for (const int64_t input : node.inputs) step.inputs.push_back(need(input, layout, &node));
    if (layout == Layout::channels_last) {
      ChannelsLast made = make_channels_last({model_, node, threads_}, aten_, plan_.rewritten);
      step.bind = std::move(made.bind);
      step.run = std::move(made.run);
    } else if (quantizes_for_conv(node)) {
      step.bind = make_quantize_to_channels_last({model_, node, threads_});
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
  const int threads_;
  const kernels::u8s8::InstructionSet set_;
  std::vector<bool> exists_;
  Plan plan_;
};

}  // namespace

Plan make_plan(const graph::Model& model, const AtenEvaluator& aten, int threads,
               kernels::u8s8::InstructionSet set) {
  return Planner(model, aten, threads, set).make();
}

}  // namespace qat::runtime
