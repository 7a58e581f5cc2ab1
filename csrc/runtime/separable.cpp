#include "runtime/separable.h"

#include <algorithm>

namespace qat::runtime {
namespace {

using graph::Affine;
using graph::Graph;
using graph::Node;
using graph::Shape;

bool is_constant(const Affine& size) { return size.per_batch == 0; }

bool is_batched(const Shape& shape) {
  return !shape.empty() && shape[0] == Affine{1, 0} &&
         std::all_of(shape.begin() + 1, shape.end(), is_constant);
}

bool is_constant(const Shape& shape) {
  return std::all_of(shape.begin(), shape.end(), [](const Affine& s) { return is_constant(s); });
}

// For nodes whose batched operands and results are batched.
struct KeepsSamplesApart {
  const Graph& graph;
  const Node& node;

  const Shape& input(size_t i) const {
    return graph.values[static_cast<size_t>(node.inputs[i])].shape;
  }
  size_t rank() const { return input(0).size(); }

  template <typename Attributes>
  bool operator()(const Attributes&) const {
    return is_batched(input(0));  // works within a sample
  }
  bool operator()(const graph::ConstantAttributes&) const { return true; }
  bool operator()(const graph::AtenAttributes&) const { return false; }
  // A constant operand must not reach the batch axis: it has fewer axes, or size 1 there.
  bool operator()(const graph::BinaryAttributes&) const {
    const size_t most = std::max(input(0).size(), input(1).size());
    for (size_t i = 0; i < 2; ++i) {
      const Shape& shape = input(i);
      if (is_batched(shape) ? shape.size() != most
                            : shape.size() == most && shape[0] != Affine{0, 1}) {
        return false;
      }
    }
    return true;
  }
  bool operator()(const graph::MeanAttributes& a) const {
    return std::find(a.axes.begin(), a.axes.end(), 0) == a.axes.end();
  }
  bool operator()(const graph::ConcatAttributes& a) const {
    bool batched = a.axis > 0;
    for (size_t i = 0; i < node.inputs.size(); ++i) batched = batched && is_batched(input(i));
    return batched;
  }
  bool operator()(const graph::PadAttributes& a) const { return !a.before[0] && !a.after[0]; }
  bool operator()(const graph::PermuteAttributes& a) const { return a.axes[0] == 0; }
  bool operator()(const graph::SliceAttributes& a) const {
    return a.axis > 0 && is_constant(a.start) && is_constant(a.stop);
  }
  bool operator()(const graph::UpsampleNearestAttributes& a) const {
    return a.factor.size() < rank();
  }
  bool operator()(const graph::LinearAttributes&) const { return rank() > 1; }
};

}  // namespace

bool is_separable(const Graph& graph) {
  for (const auto* list : {&graph.inputs, &graph.outputs}) {
    for (const int64_t value : *list) {
      if (!is_batched(graph.values[static_cast<size_t>(value)].shape)) return false;
    }
  }
  for (const Node& node : graph.nodes) {
    bool any_batched = false, all_fit = true;
    for (const auto* list : {&node.inputs, &node.outputs}) {
      for (const int64_t value : *list) {
        const Shape& shape = graph.values[static_cast<size_t>(value)].shape;
        any_batched = any_batched || is_batched(shape);
        all_fit = all_fit && (is_batched(shape) || is_constant(shape));
      }
    }
    if (!all_fit) return false;
    if (!any_batched) continue;  // the same for every sample
    const bool makes_batch = is_batched(graph.values[static_cast<size_t>(node.outputs[0])].shape);
    if (!makes_batch || !std::visit(KeepsSamplesApart{graph, node}, node.attributes)) return false;
  }
  return !graph.inputs.empty();
}

}  // namespace qat::runtime
