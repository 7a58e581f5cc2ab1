#pragma once
// A launch as calls of the kernel, one for each thread.

#include <cuda_runtime_api.h>

#include <tuple>

namespace qat::kernels::cuda {

// Small ones let small tensors take several steps of a grid.
inline int64_t kMostThreadBlocks = 4096;

template <typename... Parameters, typename... Arguments>
cudaError_t start_kernel(void (*kernel)(Parameters...), const dim3& grid, int threads, cudaStream_t,
                         const Arguments&... arguments) {
  const std::tuple<Parameters...> copies(arguments...);
  emulation::run_grid(grid, static_cast<unsigned>(threads), [&] { std::apply(kernel, copies); });
  return cudaSuccess;
}

}  // namespace qat::kernels::cuda
