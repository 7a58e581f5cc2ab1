#pragma once
// A graph lowered to steps over tensors in fixed layouts.

#include <deque>

#include "kernels/cpu/gemm_u8s8.h"
#include "runtime/layout.h"
#include "runtime/operators.h"

namespace qat::runtime {

// Index of a value in one layout.
constexpr size_t slot(int64_t value, Layout layout) {
  return static_cast<size_t>(value) * 2 + static_cast<size_t>(layout);
}
constexpr int64_t value_of(size_t slot) { return static_cast<int64_t>(slot / 2); }
constexpr Layout layout_of(size_t slot) { return static_cast<Layout>(slot % 2); }

struct Step {
  const graph::Node* node = nullptr;    // for messages
  Binder bind;                          // what the step runs, or, where there is no kernel:
  AtenOperator run;                     // ATen's operator
  const Tensor* constant = nullptr;     // or a tensor of the model that is the result
  std::vector<size_t> inputs, outputs;  // slots
  std::vector<size_t> dead;             // slots that nobody reads after this step
};

struct Plan {
  std::vector<Step> steps;
  std::deque<graph::Node> rewritten;  // nodes with attributes for channels-last tensors
};

// model must outlive the plan.
Plan make_plan(const graph::Model& model, const AtenEvaluator& aten,
               kernels::u8s8::InstructionSet set);

}  // namespace qat::runtime
