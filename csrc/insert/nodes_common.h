#pragma once
// What the node files share.

#include <ATen/FuncTorchTLS.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/core/ivalue.h>

#include <algorithm>
#include <initializer_list>
#include <memory>
#include <optional>
#include <utility>

#include "insert/nodes.h"

namespace qat::insert {

using OptionalTensor = std::optional<at::Tensor>;

// As operators and autograd functions take an operand that may be absent.
inline OptionalTensor optional(const at::Tensor& tensor) {
  return tensor.defined() ? OptionalTensor(tensor) : std::nullopt;
}

// Keeps a plain C++ value in an AutogradContext.
template <typename T>
struct Held final : torch::CustomClassHolder {
  explicit Held(T v) : value(std::move(v)) {}
  T value;
  static c10::IValue hold(T v) {
    return c10::IValue::make_capsule(c10::make_intrusive<Held<T>>(std::move(v)));
  }
  static const T& get(const c10::IValue& ivalue) {
    return static_cast<const Held<T>*>(ivalue.toCapsule().get())->value;
  }
};

// Whether an autograd node over these operands has anything to do. Where it has not, its forward
// may run on its own: torch's apply() takes as long as the forward of a small layer. Under
// functorch and for tangents of forward mode, apply() has to refuse.
inline bool needs_node(std::initializer_list<const at::Tensor*> operands) {
  if (at::functorch::functorchTLSAccessor() != nullptr) return true;
  const bool records = at::GradMode::is_enabled();
  return std::any_of(operands.begin(), operands.end(), [&](const at::Tensor* tensor) {
    if (!tensor->defined()) return false;
    return (records && tensor->requires_grad()) || tensor->_fw_grad(/*level=*/0).defined();
  });
}

// Called by every node's backward. The operators in there have no derivative, so that with
// create_graph a quantized part of a gradient penalty would silently count as constant.
void require_first_order();

inline std::shared_ptr<Payload> codes_payload(Codes codes) {
  auto payload = std::make_shared<Payload>();
  payload->codes = std::move(codes);
  return payload;
}

inline at::Tensor make_like(std::shared_ptr<Payload> payload, const Nominal& nominal,
                            c10::Device device) {
  return make_quantized_tensor(std::move(payload), nominal.sizes, nominal.strides, device);
}

// Codes of `to` with the tensor filled in.
inline Codes with_codes(const Codes& to, at::Tensor codes) {
  Codes filled = to;
  filled.codes = std::move(codes);
  return filled;
}

// A tensor in the nominal layout; evaluated chains are channels-last in memory.
at::Tensor to_nominal(const at::Tensor& tensor, const Nominal& nominal);

}  // namespace qat::insert
