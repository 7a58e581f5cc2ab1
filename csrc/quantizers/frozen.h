#pragma once
// Learned scales that stand still.

#include "quantizers/observer.h"

namespace qat {

// An optimizer passes over a parameter without a gradient. With one of zeros, as zero_grad() may
// leave it, momentum and weight decay would go on moving it.
inline void drop_gradients(const NamedTensors& state) {
  for (const auto& [name, tensor] : state) {
    if (tensor.requires_grad()) tensor.mutable_grad() = at::Tensor();
  }
}

}  // namespace qat
