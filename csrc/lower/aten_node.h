#pragma once
// Float islands between the trace, the file and ATen.

#include <ATen/core/ivalue.h>

#include <functional>
#include <string>
#include <vector>

#include "capture/trace.h"
#include "graph/graph.h"
#include "runtime/executor.h"

namespace qat::lower {

// The recorded call as attributes of an `aten` node. inputs: filled with the value ids it reads,
// in the order of InputArgument::index.
graph::AtenAttributes aten_attributes(const capture::TraceNode& node, std::vector<int64_t>& inputs);

// Calls the operator on tensors; integers that depend on the batch are evaluated at `batch`.
// Throws qat::Error for an operator that a model file may not call.
std::vector<at::Tensor> call_aten(const graph::AtenAttributes& attributes,
                                  const std::vector<at::Tensor>& inputs, int64_t batch);

// What executors take as Options::aten.
runtime::AtenEvaluator aten_evaluator();

}  // namespace qat::lower
