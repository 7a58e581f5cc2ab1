#pragma once
// Which nodes behind a convolution or linear layer run in its epilogue.

#include <vector>

#include "graph/model.h"

namespace qat::runtime {

// A node of the epilogue. operand: the value that a binary operator combines with the chain;
// codes where it dequantizes them itself.
struct ChainStage {
  int64_t node = 0;
  int64_t operand = -1;
  bool operand_first = false;  // the chain is the right-hand side
};

// A layer with everything that is computed before its result is stored. It runs at the position
// of its last node: all operands exist there, and nobody reads the values in between.
struct Chain {
  int64_t layer = 0;  // node index
  std::vector<ChainStage> stages;
  int64_t output = 0;  // value index
  int64_t last_node() const { return stages.empty() ? layer : stages.back().node; }
};

struct Chains {
  std::vector<Chain> chains;
  // By node: the chain that it belongs to, or -1; a dequantize node that became an operand
  // belongs to the chain of its reader.
  std::vector<int64_t> chain_of;
};

// layers: indices of the nodes for which there is a kernel.
Chains find_chains(const graph::Graph& graph, const std::vector<int64_t>& layers);

}  // namespace qat::runtime
