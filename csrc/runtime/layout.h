#pragma once
// The two orders in which a 4-d tensor stands in memory.

#include "runtime/tensors.h"

namespace qat::runtime {

enum class Layout { row_major = 0, channels_last = 1 };  // [N, C, H, W] or [N, H, W, C]

// The shape of a row-major tensor as it stands in memory in `layout`.
Sizes physical_shape(const Sizes& shape, Layout layout);

// The bytes of a tensor of rank 4 in the other layout, `to`; shape: as it stands in `from`.
void change_layout(const std::byte* from, const Sizes& shape, size_t element, Layout to,
                   std::byte* out, int threads);

}  // namespace qat::runtime
