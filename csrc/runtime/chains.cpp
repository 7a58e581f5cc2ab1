#include "runtime/chains.h"

namespace qat::runtime {
namespace {

class Finder {
 public:
  explicit Finder(const graph::Graph& graph)
      : graph_(graph),
        uses_(graph.values.size()),
        producer_(graph.values.size(), -1),
        reader_(graph.values.size(), -1) {
    result_.chain_of.assign(graph.nodes.size(), -1);
    for (size_t i = 0; i < graph.nodes.size(); ++i) {
      const auto index = static_cast<int64_t>(i);
      for (const int64_t value : graph.nodes[i].inputs) {
        ++uses_[static_cast<size_t>(value)];
        reader_[static_cast<size_t>(value)] = index;
      }
      for (const int64_t value : graph.nodes[i].outputs) {
        producer_[static_cast<size_t>(value)] = index;
      }
    }
    // The caller reads an output: it must exist even if one node or none reads it too.
    for (const int64_t value : graph.outputs) uses_[static_cast<size_t>(value)] += 2;
  }

  void add(int64_t layer) {
    Chain chain{layer, {}, node(layer).outputs[0]};
    const bool is_linear = std::holds_alternative<graph::LinearAttributes>(node(layer).attributes);
    const size_t rank = value(chain.output).shape.size();
    channels_in_epilogue_ = !is_linear || rank == 2;
    while (extend(chain)) {
    }
    const auto index = static_cast<int64_t>(result_.chains.size());
    result_.chain_of[static_cast<size_t>(layer)] = index;
    result_.chains.push_back(std::move(chain));
  }

  Chains take() { return std::move(result_); }

 private:
  const graph::Node& node(int64_t i) const { return graph_.nodes[static_cast<size_t>(i)]; }
  const graph::Value& value(int64_t i) const { return graph_.values[static_cast<size_t>(i)]; }

  bool extend(Chain& chain) {
    if (value(chain.output).type != graph::ElementType::float32) return false;  // was quantized
    if (uses_[static_cast<size_t>(chain.output)] != 1) return false;
    const int64_t next = reader_[static_cast<size_t>(chain.output)];
    if (result_.chain_of[static_cast<size_t>(next)] >= 0) return false;
    ChainStage stage{next};
    if (!fits(chain, stage)) return false;
    const auto index = static_cast<int64_t>(result_.chains.size());
    result_.chain_of[static_cast<size_t>(next)] = index;
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
    if (value(stage.operand).shape != value(chain.output).shape) return false;
    read_codes(stage);
    return true;
  }

  // Takes the codes behind an operand that exists for this one use.
  void read_codes(ChainStage& stage) {
    const int64_t from = producer_[static_cast<size_t>(stage.operand)];
    if (from < 0 || uses_[static_cast<size_t>(stage.operand)] != 1) return;
    if (!std::holds_alternative<graph::DequantizeAttributes>(node(from).attributes)) return;
    stage.operand = node(from).inputs[0];
    result_.chain_of[static_cast<size_t>(from)] = static_cast<int64_t>(result_.chains.size());
  }

  const graph::Graph& graph_;
  std::vector<int64_t> uses_, producer_, reader_;
  bool channels_in_epilogue_ = true;
  Chains result_;
};

}  // namespace

Chains find_chains(const graph::Graph& graph, const std::vector<int64_t>& layers) {
  Finder finder(graph);
  for (const int64_t layer : layers) finder.add(layer);
  return finder.take();
}

}  // namespace qat::runtime
