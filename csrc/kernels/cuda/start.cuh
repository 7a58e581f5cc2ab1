#pragma once
// The call of a kernel: the only code here that no host compiler takes. tests/cpp/cuda_emulation
// has another one.

#include <cuda_runtime_api.h>

#include <cstdint>

namespace qat::kernels::cuda {

// Fills any current GPU several times over; the loops inside the kernels take the rest.
constexpr int64_t kMostThreadBlocks = 4096;

template <typename... Parameters, typename... Arguments>
cudaError_t start_kernel(void (*kernel)(Parameters...), const dim3& grid, int threads,
                         cudaStream_t stream, const Arguments&... arguments) {
  kernel<<<grid, threads, 0, stream>>>(arguments...);
  return cudaGetLastError();
}

}  // namespace qat::kernels::cuda
