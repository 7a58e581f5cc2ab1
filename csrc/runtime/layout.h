#pragma once
// The two orders in which a 4-d tensor stands in memory.

#include "runtime/tensors.h"

namespace qat::runtime {

enum class Layout { row_major = 0, channels_last = 1 };  // [N, C, H, W] or [N, H, W, C]

// The shape of a row-major tensor as it stands in memory in `layout`.
Sizes physical_shape(const Sizes& shape, Layout layout);

// A tensor of rank 4 in the other layout, `to`.
Tensor change_layout(const Tensor& tensor, Layout to, int threads);

}  // namespace qat::runtime
