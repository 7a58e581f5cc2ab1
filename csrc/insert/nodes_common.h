#pragma once
// What the node files share.

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>

#include <memory>
#include <optional>
#include <utility>

#include "insert/nodes.h"

namespace qat::insert {

using OptionalTensor = std::optional<at::Tensor>;

// As operators take an operand that may be absent.
inline OptionalTensor optional(const at::Tensor& tensor) {
  return tensor.defined() ? OptionalTensor(tensor) : std::nullopt;
}

// f(at::Tensor&) for all tensors.
template <typename F>
void visit_tensors(Codes& codes, F&& f) {
  f(codes.codes), f(codes.scale), f(codes.zero_point);
}

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

// A quantized tensor of these codes.
inline at::Tensor codes_result(at::Tensor codes, const Codes& like, const Nominal& nominal) {
  const c10::Device device = codes.device();
  return make_like(codes_payload(with_codes(like, std::move(codes))), nominal, device);
}

// A tensor in the nominal layout; evaluated chains are channels-last in memory.
at::Tensor to_nominal(const at::Tensor& tensor, const Nominal& nominal);

}  // namespace qat::insert
