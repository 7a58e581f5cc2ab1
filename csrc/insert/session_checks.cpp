// Where a forward may not differ from the plan.

#include <c10/core/ScalarType.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/functions/accumulate_grad.h>
#include <torch/csrc/autograd/variable.h>

#include <algorithm>
#include <unordered_set>

#include "error.h"
#include "insert/session.h"

namespace qat::insert {
namespace {

using capture::Kind;

bool is_layer(Kind kind) { return kind == Kind::conv || kind == Kind::linear; }

// The leaves that a backward from these tensors would reach.
std::unordered_set<const c10::TensorImpl*> leaves_behind(const TensorList& tensors) {
  std::unordered_set<const c10::TensorImpl*> leaves;
  std::unordered_set<const torch::autograd::Node*> seen;
  std::vector<torch::autograd::Node*> open;
  for (const at::Tensor& tensor : tensors) {
    if (tensor.grad_fn() != nullptr) open.push_back(tensor.grad_fn().get());
  }
  while (!open.empty()) {
    auto* node = open.back();
    open.pop_back();
    if (!seen.insert(node).second) continue;
    if (const auto* leaf = dynamic_cast<torch::autograd::AccumulateGrad*>(node)) {
      leaves.insert(leaf->variable.unsafeGetTensorImpl());
    }
    for (const auto& edge : node->next_edges()) {
      if (edge.function != nullptr) open.push_back(edge.function.get());
    }
  }
  return leaves;
}

bool in_float32(const at::Tensor& tensor) {
  return tensor.scalar_type() == at::kFloat || !tensor.is_floating_point();
}

bool decides_by_data(const capture::Trace& trace) {
  return std::any_of(trace.nodes.begin(), trace.nodes.end(),
                     [](const auto& node) { return node.data_dependent; });
}

}  // namespace

// What an operator of qat_ext refuses, named by its site. Other errors (an axis that does not
// exist) are those that the float model would end with, and the model may wait for their type.
std::optional<Session::Results> Session::planned_at_site(Call& call) {
  const auto refuse = [&call](const std::string& reason) {
    throw Error("forward: '" + call.name() + "' (" + call.known.stem + "): " + reason);
  };
  for (const at::Tensor& operand : call.operands) {
    const std::string* name = in_float32(operand) ? nullptr : record_->name_of(operand);
    if (name == nullptr) continue;
    refuse("the parameter '" + *name + "' is " +
           std::string(c10::getDtypeNames(operand.scalar_type()).first) +
           ", and a prepared model trains in float32; call float() on it.");
  }
  try {
    return planned(call);
  } catch (const c10::ValueError& error) {
    refuse(error.what_without_backtrace());
  }
  return std::nullopt;
}

void Session::require_known(const Call& call) const {
  if (call.site != nullptr || !is_layer(call.known.kind) || !call.origin.depends_on_input) return;
  const std::string* parameter = nullptr;
  bool planned_elsewhere = false;
  for (const at::Tensor& operand : call.operands) {
    const std::string* name = origin_of(operand).parameter;
    if (name == nullptr) continue;
    if (parameter == nullptr || operand.dim() > 1) parameter = name;  // rather the weight
    planned_elsewhere = planned_elsewhere || plan_.layer_parameters.count(*name) > 0;
  }
  if (parameter == nullptr) return;
  // A layer that eval never passes (an auxiliary head) may train in float.
  if (options_.training && !planned_elsewhere) {
    if (!decides_by_data(trace_)) return;
    TORCH_WARN("qat_ext: forward: ", call.known.stem, " with parameter '", *parameter,
               "' is not in the plan and trains in float: the model decided by its data for a path "
               "that the first example of prepare() did not take. eval() will refuse it; compute "
               "both ways and select with torch.where.");
    return;
  }
  throw Error("forward: " + call.known.stem + " with parameter '" + *parameter +
              "' is not in the plan: the forward took a path that the first example of prepare() "
              "did not take, and a prepared model holds one path only. Compute both ways and "
              "select with torch.where, or prepare the model with a first example that takes this "
              "path.");
}

// Which way the model went by its data. A warning, not an error: models skip work that would change
// nothing (a mask of ones), and then the way that the integer model takes gives the same.
void Session::compare_outcome(const Call& call) const {
  const c10::IValue& expected = trace_.nodes[call.node].outcome;
  if (options_.training || !expected.isBool() || call.stack.empty()) return;
  const c10::IValue& got = call.stack.back();
  if (!got.isBool() || got.toBool() == expected.toBool()) return;
  const auto spell = [](bool value) { return value ? "true" : "false"; };
  TORCH_WARN("qat_ext: forward: '", call.name(), "' (", call.known.stem, ") came out ",
             spell(got.toBool()), ", but ", spell(expected.toBool()),
             " with the example inputs. The model decides by its data which way it takes; the "
             "integer model takes that of the examples, and its results may differ here. Select "
             "values with torch.where, or prepare the model with an example that decides as the "
             "data do.");
}

void Session::require_complete(const TensorList& outputs) const {
  std::optional<std::unordered_set<const c10::TensorImpl*>> used;
  for (size_t i = 0; i < trace_.nodes.size(); ++i) {
    const auto& node = trace_.nodes[i];
    if (!is_layer(node.kind) || !plan_.sites[i].integer) continue;
    if (visited_[i]) continue;
    if (options_.training && at::GradMode::is_enabled()) {
      // Training may drop whole blocks; a layer that ran unseen lies behind the outputs.
      if (!used) used = leaves_behind(outputs);
      if (used->count(record_->find(plan_.sites[i].weight_parameter)) == 0) continue;
    }
    throw Error("forward: the planned site '" + node.name + "' (" + node.stem +
                ") was not passed. Was the model compiled, scripted or replaced after prepare()? "
                "Prepare it again, or run it without compilation.");
  }
}

}  // namespace qat::insert
