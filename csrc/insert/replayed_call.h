#pragma once
// A recorded call on other tensors.

#include <ATen/core/dispatch/Dispatcher.h>

#include <vector>

#include "capture/catalog.h"

namespace qat::insert {

// The call's operator on other tensors: first the operands, everything else as in the call.
inline std::vector<at::Tensor> call_with(const c10::OperatorHandle& op,
                                         const std::vector<c10::IValue>& arguments,
                                         const std::vector<at::Tensor>& tensors) {
  torch::jit::Stack stack(arguments.begin(), arguments.end());
  if (stack[0].isTensorList()) {
    stack[0] = c10::List<at::Tensor>(tensors);
  } else {
    stack[0] = tensors[0];
  }
  op.callBoxed(&stack);
  std::vector<at::Tensor> results;
  for (const c10::IValue& value : stack) {
    if (value.isTensor()) results.push_back(value.toTensor());
    if (value.isTensorList()) results = value.toTensorVector();
  }
  return results;
}

inline std::vector<c10::IValue> copy_arguments(const capture::Arguments& arguments) {
  std::vector<c10::IValue> copy;
  for (size_t i = 0; i < arguments.size(); ++i) copy.push_back(arguments.at(i));
  copy[0] = c10::IValue();  // must not keep the operand alive
  return copy;
}

}  // namespace qat::insert
