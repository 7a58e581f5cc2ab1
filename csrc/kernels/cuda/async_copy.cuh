#pragma once
// Copies from global to shared memory that do not wait for their data (PTX ISA, "cp.async").
// tests/cpp/cuda_emulation has another one of this file.

#include "kernels/cuda/packs.cuh"

namespace qat::kernels::cuda {

// Tiles in shared memory: one in use, the others on their way. Before sm_80 a copy waits anyhow,
// and 12 KiB more would halve the thread blocks of a multiprocessor.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
constexpr int kStages = 2;
#else
constexpr int kStages = 3;
#endif

// 4 or 16 bytes; both addresses are multiples of that.
template <int kBytes>
__device__ __forceinline__ void copy_to_shared(void* shared, const void* global) {
  static_assert(kBytes == 4 || kBytes == 16);
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  const auto to = static_cast<uint32_t>(__cvta_generic_to_shared(shared));
  const auto from = __cvta_generic_to_global(global);
  if constexpr (kBytes == 16) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(from) : "memory");
  } else {
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(to), "l"(from) : "memory");
  }
#else
  using Words = Pack<uint32_t, kBytes / 4>;
  *static_cast<Words*>(shared) = *static_cast<const Words*>(global);
#endif
}

// The copies of this thread since the last call form a group, empty ones too.
__device__ __forceinline__ void end_group_of_copies() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

// Until all groups of this thread but the newest kNewest have arrived.
template <int kNewest>
__device__ __forceinline__ void wait_for_copies() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_group %0;" ::"n"(kNewest) : "memory");
#endif
}

}  // namespace qat::kernels::cuda
