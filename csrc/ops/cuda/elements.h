#pragma once
// The memory order of a dense tensor in the kernels' terms.

#include "kernels/cuda/kernels.h"
#include "ops/cpu/elementwise.h"

namespace qat::ops::cuda {

inline kernels::cuda::Elements elements_of(const at::Tensor& dense, int64_t axis) {
  const MemoryLayout layout = memory_layout(dense, axis);
  return {dense.numel(), layout.channels, layout.inner};
}

}  // namespace qat::ops::cuda
