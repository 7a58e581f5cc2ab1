#pragma once
// Moving elements between two strided arrays of one shape: all that the layout operators do.

#include <cstddef>

#include "runtime/tensors.h"

namespace qat::runtime {

struct StridedSide {
  Sizes strides;       // in elements
  int64_t offset = 0;  // in elements
};

// element: bytes of one element, 1, 4 or 8. Regions must not overlap.
void copy_strided(size_t element, const Sizes& shape, std::byte* to, const StridedSide& to_side,
                  const std::byte* from, const StridedSide& from_side, int threads);

}  // namespace qat::runtime
