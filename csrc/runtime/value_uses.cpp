#include "runtime/value_uses.h"

namespace qat::runtime {

ValueUses::ValueUses(const graph::Graph& graph)
    : producers_(graph.values.size(), -1),
      readers_(graph.values.size()),
      is_output_(graph.values.size(), false) {
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    const auto node = static_cast<int64_t>(i);
    for (const int64_t value : graph.nodes[i].inputs) {
      readers_[static_cast<size_t>(value)].push_back(node);
    }
    for (const int64_t value : graph.nodes[i].outputs) {
      producers_[static_cast<size_t>(value)] = node;
    }
  }
  for (const int64_t value : graph.outputs) is_output_[static_cast<size_t>(value)] = true;
}

int64_t ValueUses::only_reader(int64_t value) const {
  const auto& found = readers(value);
  return found.size() == 1 && !is_output_[static_cast<size_t>(value)] ? found.front() : -1;
}

}  // namespace qat::runtime
