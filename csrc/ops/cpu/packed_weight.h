#pragma once
// Weights in the layout of one kind of kernel, kept as long as the weight they were made from.

#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>
#include <vector>

namespace qat::ops {

using Packed = std::shared_ptr<const void>;

// Calls `pack` unless the same tensor, unmodified, was packed for the same `key` before; keys of
// different kinds of kernels differ in length. A tensor is recognised by its TensorImpl under a
// weak reference, so that an address used again is not mistaken for it, and by its version counter.
Packed packed_weight(const at::Tensor& weight, const std::vector<int64_t>& key,
                     const std::function<Packed()>& pack);

}  // namespace qat::ops
