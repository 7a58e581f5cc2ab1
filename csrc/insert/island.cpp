#include "insert/island.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/_scaled_dot_product_attention_math.h>
#include <ATen/ops/zeros.h>
#include <c10/core/impl/LocalDispatchKeySet.h>

#include <limits>
#include <optional>

namespace qat::insert {
namespace {

bool has_alias(const c10::FunctionSchema& schema) {
  for (const auto& returned : schema.returns()) {
    if (returned.alias_info() != nullptr) return true;
  }
  for (const auto& argument : schema.arguments()) {
    if (argument.alias_info() != nullptr && argument.alias_info()->isWrite()) return true;
  }
  return false;
}

void make_contiguous(c10::IValue& value) {
  if (value.isTensor()) {
    const at::Tensor& tensor = value.toTensor();
    if (tensor.defined() && !tensor.is_contiguous()) value = tensor.contiguous();
  } else if (value.isTensorList()) {
    auto list = value.toTensorVector();
    for (auto& tensor : list) tensor = tensor.contiguous();
    value = c10::List<at::Tensor>(list);
  }
}

// The additive form of a mask: a boolean one keeps where true. The composite operator adds whatever
// it is given.
std::optional<at::Tensor> additive(const c10::IValue& value) {
  if (value.isNone()) return std::nullopt;
  const at::Tensor& mask = value.toTensor();
  if (mask.scalar_type() != at::kBool) return mask;
  return at::zeros(mask.sizes(), mask.options().dtype(at::kFloat))
      .masked_fill_(mask.logical_not(), -std::numeric_limits<double>::infinity());
}

// (query, key, value, attn_mask, dropout_p, is_causal, *, scale, enable_gqa)
void attention(torch::jit::Stack& stack, size_t first) {
  const auto& scale = stack[first + 6];
  const auto result = at::_scaled_dot_product_attention_math(
      stack[first].toTensor(), stack[first + 1].toTensor(), stack[first + 2].toTensor(),
      additive(stack[first + 3]), stack[first + 4].toDouble(), stack[first + 5].toBool(),
      std::nullopt, scale.isNone() ? std::nullopt : std::optional(scale.toDouble()),
      stack[first + 7].toBool());
  stack.resize(first);
  stack.emplace_back(std::get<0>(result));
}

}  // namespace

void call_island(const c10::OperatorHandle& op, torch::jit::Stack& stack, bool allow_autocast) {
  const auto& schema = op.schema();
  const size_t count = schema.arguments().size();
  const size_t first = stack.size() - count;
  std::optional<c10::impl::ExcludeDispatchKeyGuard> no_autocast;
  if (!allow_autocast) no_autocast.emplace(c10::autocast_dispatch_keyset);
  if (!has_alias(schema)) {
    for (size_t i = first; i < stack.size(); ++i) make_contiguous(stack[i]);
  }
  if (schema.name() == "aten::scaled_dot_product_attention" && count == 8) {
    attention(stack, first);
    return;
  }
  op.callBoxed(&stack);
}

}  // namespace qat::insert
