#pragma once
// What both executors do around their operators: checking inputs and outputs.

#include "runtime/layout.h"
#include "runtime/operators.h"

namespace qat::runtime {

// Checks number, type, shape and bytes of the inputs and returns the batch of the call: it follows
// from the first input axis whose size depends on it, all others must agree. 1 if none does.
int64_t check_inputs(const graph::Graph& graph, const std::vector<Tensor>& inputs);

// The input as the graph's value: float32 given for a value of codes is quantized.
Tensor bind_input(const graph::Value& value, const Tensor& input, int threads);

// Fails if what a node made has another shape or type than the graph says.
void check_output(const graph::Node& node, const graph::Value& value, const Tensor& made,
                  int64_t batch, Layout layout = Layout::row_major);

// Fails if a node has a number of inputs or outputs that its operator cannot have, or refers to a
// value that does not exist or is not computed before it.
void check_structure(const graph::Graph& graph);

// For each node, the values that no later node and no graph output reads.
std::vector<std::vector<int64_t>> dead_after(const graph::Graph& graph);

}  // namespace qat::runtime
