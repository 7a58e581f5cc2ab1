#pragma once
// What the node files share.

#include <ATen/core/Tensor.h>
#include <ATen/core/ivalue.h>

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
