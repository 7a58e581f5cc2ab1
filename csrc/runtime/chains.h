#pragma once
// Which nodes run together: those behind a convolution or linear layer in its epilogue, and
// elementwise operators in one pass over their elements.

#include <vector>

#include "graph/model.h"
#include "runtime/value_uses.h"

namespace qat::runtime {

// A node of a chain. operand: the value that a binary operator combines with the chain;
// codes where it dequantizes them itself.
struct ChainStage {
  int64_t node = 0;
  int64_t operand = -1;
  bool operand_first = false;  // the chain is the right-hand side
};

// A layer, or a value, with everything that is computed before a result is stored. It runs at the
// position of its last node: all operands exist there, and nobody reads the values in between.
struct Chain {
  int64_t layer = -1;  // node index; -1 for elementwise operators alone
  int64_t input = 0;   // value index; of elementwise operators codes or floats
  std::vector<ChainStage> stages;
  int64_t output = 0;  // value index
  int64_t last_node() const { return stages.empty() ? layer : stages.back().node; }
};

struct Chains {
  std::vector<Chain> chains;
  // By node: the chain that it belongs to, or -1; a dequantize node that became an operand or the
  // start belongs to the chain that reads its codes.
  std::vector<int64_t> chain_of;
};

// layers: indices of the nodes for which there is a kernel. What they leave of the elementwise
// operators forms chains of its own, whose operands may be repeated along axes of the result.
Chains find_chains(const graph::Graph& graph, const ValueUses& uses,
                   const std::vector<int64_t>& layers);

}  // namespace qat::runtime
