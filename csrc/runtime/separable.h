#pragma once
// Whether the samples of a batch may be run one after the other.

#include "graph/graph.h"

namespace qat::runtime {

// True where every input and output is [B, constants...] and no node mixes samples, so that running
// parts of a batch gives the bytes of running it whole.
bool is_separable(const graph::Graph& graph);

}  // namespace qat::runtime
