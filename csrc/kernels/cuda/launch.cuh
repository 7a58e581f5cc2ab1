#pragma once
// The one way in which kernels are started.

#include <algorithm>
#include <cstdint>
#include <string>

#include "error.h"
#include "kernels/cuda/start.cuh"

namespace qat::kernels::cuda {

constexpr int kThreads = 256;

constexpr int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Starts `kernel` with `thread_blocks` blocks at the most, none where that is 0 (an empty grid is
// an error to CUDA). Kernels loop over whatever work is left.
// `rows`: of the grid, which a kernel reads as blockIdx.y.
template <typename... Parameters, typename... Arguments>
void launch_rows(const char* op, void (*kernel)(Parameters...), int64_t thread_blocks, int rows,
                 cudaStream_t stream, const Arguments&... arguments) {
  if (thread_blocks <= 0) return;
  const auto blocks = static_cast<unsigned>(std::min(thread_blocks, kMostThreadBlocks));
  const cudaError_t status = start_kernel(kernel, dim3(blocks, static_cast<unsigned>(rows)),
                                          kThreads, stream, arguments...);
  if (status == cudaSuccess) return;
  throw Error(std::string(op) + ": CUDA: expected the kernel to start, got \"" +
              cudaGetErrorString(status) + "\"; an earlier CUDA operation may have failed.");
}

template <typename... Parameters, typename... Arguments>
void launch_blocks(const char* op, void (*kernel)(Parameters...), int64_t thread_blocks,
                   cudaStream_t stream, const Arguments&... arguments) {
  launch_rows(op, kernel, thread_blocks, 1, stream, arguments...);
}

// One thread for each of `items` pieces of work.
template <typename... Parameters, typename... Arguments>
void launch(const char* op, void (*kernel)(Parameters...), int64_t items, cudaStream_t stream,
            const Arguments&... arguments) {
  launch_blocks(op, kernel, divide_up(items, kThreads), stream, arguments...);
}

__device__ __forceinline__ int64_t first_item() {
  return static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}

__device__ __forceinline__ int64_t item_step() {
  return static_cast<int64_t>(gridDim.x) * blockDim.x;
}

}  // namespace qat::kernels::cuda
