#pragma once
// Who makes and who reads each value of a graph.

#include <vector>

#include "graph/model.h"

namespace qat::runtime {

class ValueUses {
 public:
  explicit ValueUses(const graph::Graph& graph);

  // The node that makes a value, or -1 for an input.
  int64_t producer(int64_t value) const { return producers_[static_cast<size_t>(value)]; }
  // The nodes that read it, once for each of their operands.
  const std::vector<int64_t>& readers(int64_t value) const {
    return readers_[static_cast<size_t>(value)];
  }
  // The node whose operand is its one use, or -1. The caller reads outputs: they must exist even if
  // one node or none reads them too.
  int64_t only_reader(int64_t value) const;

 private:
  std::vector<int64_t> producers_;
  std::vector<std::vector<int64_t>> readers_;
  std::vector<bool> is_output_;
};

}  // namespace qat::runtime
