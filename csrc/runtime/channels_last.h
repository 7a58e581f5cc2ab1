#pragma once
// Running the plain operators on channels-last tensors by rewriting their attributes.

#include <deque>

#include "runtime/operators.h"

namespace qat::runtime {

// True where the operator can run with all its inputs as [N, H, W, C].
bool runs_channels_last(const graph::Graph& graph, const graph::Node& node);

// The operator of such a node: a kernel of its own, or the plain operator of the node with
// rewritten attributes, which is kept in `rewritten`.
Binder make_channels_last(const Site& site, std::deque<graph::Node>& rewritten);

}  // namespace qat::runtime
