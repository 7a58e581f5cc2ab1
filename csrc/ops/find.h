#pragma once
// The typed handle of an operator, found once by a function's static variable.

#include <ATen/core/dispatch/Dispatcher.h>

namespace qat::ops {

template <typename Signature>
auto find(const char* name) {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, "").typed<Signature>();
}

}  // namespace qat::ops
