#pragma once
// Fragments from shared memory, one warp at a time. tests/cpp/cuda_emulation has another one of
// this file.

#include <cstdint>

namespace qat::kernels::cuda {

// Four blocks of 8 rows of 16 bytes. Lane l points to row l % 8 of block l / 8, and receives word
// l % 4 of row l / 4 of each block (PTX ISA, "ldmatrix"): what Note [Fragments] gives it.
__device__ __forceinline__ void load_blocks(uint32_t (&words)[4], const void* row) {
  const auto address = static_cast<uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
               : "r"(address)
               : "memory");
}

}  // namespace qat::kernels::cuda
