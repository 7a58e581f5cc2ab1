#include "runtime/chains.h"

namespace qat::runtime {
namespace {

bool starts_elementwise(const graph::Node& node) {
  return std::holds_alternative<graph::DequantizeAttributes>(node.attributes) ||
         std::holds_alternative<graph::ActivationAttributes>(node.attributes) ||
         std::holds_alternative<graph::AffineAttributes>(node.attributes) ||
         std::holds_alternative<graph::BinaryAttributes>(node.attributes);
}

class Finder {
 public:
  Finder(const graph::Graph& graph, const ValueUses& uses) : graph_(graph), uses_(uses) {
    result_.chain_of.assign(graph.nodes.size(), -1);
  }

  void add_layer(int64_t layer) {
    Chain chain{layer, node(layer).inputs[0], {}, node(layer).outputs[0]};
    const bool is_linear = std::holds_alternative<graph::LinearAttributes>(node(layer).attributes);
    const size_t rank = value(chain.output).shape.size();
    channels_in_epilogue_ = !is_linear || rank == 2;
    operands_repeat_ = false;
    claim(layer);
    finish(std::move(chain));
  }

  // From a dequantize, or from the operator itself on the floats that it reads.
  void add_elementwise(int64_t first) {
    if (result_.chain_of[static_cast<size_t>(first)] >= 0) return;
    channels_in_epilogue_ = operands_repeat_ = true;
    const graph::Node& start = node(first);
    Chain chain{-1, start.inputs[0], {}, start.inputs[0]};
    if (std::holds_alternative<graph::DequantizeAttributes>(start.attributes)) {
      chain.output = start.outputs[0];
      if (!extend(chain)) return;
      claim(first);
    } else {
      const graph::Shape& made = value(start.outputs[0]).shape;
      if (value(chain.input).shape != made) chain.input = chain.output = start.inputs.back();
      if (value(chain.input).shape != made || !append(chain, first)) return;
    }
    finish(std::move(chain));
  }

  Chains take() { return std::move(result_); }

 private:
  const graph::Node& node(int64_t i) const { return graph_.nodes[static_cast<size_t>(i)]; }
  const graph::Value& value(int64_t i) const { return graph_.values[static_cast<size_t>(i)]; }

  void claim(int64_t i) {
    result_.chain_of[static_cast<size_t>(i)] = static_cast<int64_t>(result_.chains.size());
  }

  void finish(Chain chain) {
    while (extend(chain)) {
    }
    result_.chains.push_back(std::move(chain));
  }

  bool extend(Chain& chain) {
    if (value(chain.output).type != graph::ElementType::float32) return false;  // was quantized
    const int64_t next = uses_.only_reader(chain.output);
    return next >= 0 && result_.chain_of[static_cast<size_t>(next)] < 0 && append(chain, next);
  }

  bool append(Chain& chain, int64_t next) {
    ChainStage stage{next};
    if (!fits(chain, stage)) return false;
    claim(next);
    chain.stages.push_back(stage);
    chain.output = node(next).outputs[0];
    return true;
  }

  bool fits(const Chain& chain, ChainStage& stage) {
    const graph::Attributes& attributes = node(stage.node).attributes;
    if (std::holds_alternative<graph::QuantizeAttributes>(attributes)) return true;
    if (std::holds_alternative<graph::AffineAttributes>(attributes)) return channels_in_epilogue_;
    if (const auto* a = std::get_if<graph::ActivationAttributes>(&attributes)) {
      return a->slope.empty() || channels_in_epilogue_;
    }
    if (!std::holds_alternative<graph::BinaryAttributes>(attributes)) return false;
    const auto& inputs = node(stage.node).inputs;
    stage.operand_first = inputs[1] == chain.output;
    stage.operand = inputs[stage.operand_first ? 0 : 1];
    const graph::Shape& shape = value(chain.output).shape;
    if (operands_repeat_) {
      if (value(node(stage.node).outputs[0]).shape != shape) return false;
    } else if (value(stage.operand).shape != shape) {
      return false;
    }
    read_codes(stage);
    return true;
  }

  // Takes the codes behind an operand that exists for this one use.
  void read_codes(ChainStage& stage) {
    const int64_t from = uses_.producer(stage.operand);
    if (from < 0 || uses_.only_reader(stage.operand) < 0) return;
    if (!std::holds_alternative<graph::DequantizeAttributes>(node(from).attributes)) return;
    if (result_.chain_of[static_cast<size_t>(from)] >= 0) return;
    stage.operand = node(from).inputs[0];
    claim(from);
  }

  const graph::Graph& graph_;
  const ValueUses& uses_;
  bool channels_in_epilogue_ = true;
  bool operands_repeat_ = false;
  Chains result_;
};

}  // namespace

Chains find_chains(const graph::Graph& graph, const ValueUses& uses,
                   const std::vector<int64_t>& layers) {
  Finder finder(graph, uses);
  for (const int64_t layer : layers) finder.add_layer(layer);
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    if (starts_elementwise(graph.nodes[i])) finder.add_elementwise(static_cast<int64_t>(i));
  }
  return finder.take();
}

}  // namespace qat::runtime
