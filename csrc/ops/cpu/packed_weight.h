#pragma once
// Weights in oneDNN's own layout, kept as long as the weight they were made from.

#include <ATen/core/Tensor.h>

#include <functional>
#include <vector>

namespace qat::ops::onednn {

// Calls `pack` unless the same tensor, unmodified, was packed for the same `key` before. A tensor
// is recognised by its TensorImpl under a weak reference, so that an address used again is not
// mistaken for it, and by its version counter.
at::Tensor packed(const at::Tensor& weight, const std::vector<int64_t>& key,
                  const std::function<at::Tensor()>& pack);

}  // namespace qat::ops::onednn
