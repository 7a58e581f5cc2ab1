#include "insert/gradient_node.h"

#include <ATen/FuncTorchTLS.h>
#include <ATen/core/grad_mode.h>

#include <stdexcept>

#include "error.h"

namespace qat::insert {
namespace {

void refuse_transforms() {
  if (const auto& transforms = at::functorch::functorchTLSAccessor()) {
    transforms->checkSupportsCppAutogradFunction();
  }
}

bool requires_gradient(const at::Tensor& tensor) {
  if (!tensor.defined()) return false;
  if (tensor._fw_grad(/*level=*/0).defined()) {
    throw Error(
        "forward: forward-mode derivatives (jvp, dual tensors) are not defined for quantized "
        "operators. Use backward(), or take them on the float model.");
  }
  return tensor.requires_grad();
}

torch::autograd::Edge edge_to(const at::Tensor& tensor) {
  return tensor.defined() ? torch::autograd::impl::gradient_edge(tensor) : torch::autograd::Edge();
}

}  // namespace

bool wants_gradient(Operands operands) {
  refuse_transforms();
  bool wanted = false;
  for (const at::Tensor* tensor : operands) wanted |= requires_gradient(*tensor);
  return wanted && at::GradMode::is_enabled();
}

torch::autograd::edge_list edges_to(Operands operands) {
  torch::autograd::edge_list edges;
  edges.reserve(operands.size());
  for (const at::Tensor* tensor : operands) edges.push_back(edge_to(*tensor));
  return edges;
}

void SavedTensors::keep(at::Tensor& tensor, size_t place) {
  if (!tensor.defined()) return;
  tensors_.push_back({place, torch::autograd::SavedVariable(tensor, /*is_output=*/false)});
  tensor = at::Tensor();
}

// Nothing saved is nothing released: a second backward may pass.
void SavedTensors::release() {
  released_ = released_ || !tensors_.empty();
  tensors_.clear();
}

void SavedTensors::check_available() const {
  if (released_) throw std::runtime_error(torch::autograd::ERR_BACKWARD_TWICE);
}

void require_first_order() {
  if (!at::GradMode::is_enabled()) return;
  throw Error(
      "backward: create_graph=True: gradients of gradients are not defined for quantized "
      "operators. Call backward without create_graph, or take the penalty on the float model.");
}

void refuse_compilation() {
  throw Error(
      "backward: compiled autograd cannot trace quantized operators. Run backward() eagerly.");
}

}  // namespace qat::insert
