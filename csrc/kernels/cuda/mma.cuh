#pragma once
// Products of small byte matrices on tensor cores, one warp at a time. tests/cpp/cuda_emulation has
// another one of this file.

#include <cstdint>

namespace qat::kernels::cuda {

// Note [Fragments]
// A warp adds left[16][32] * right[32][8] to sums[16][8]. With g = lane / 4 and t = lane % 4, a
// lane holds (PTX ISA, "Matrix Fragments for mma.m16n8k32"):
//   left[0], left[1]   rows g and g + 8 at the depths 4t to 4t + 3, the lowest byte first
//   left[2], left[3]   the same rows at the depths 16 + 4t to 16 + 4t + 3
//   right[0], right[1] column g at the depths of left[0] and of left[2]
//   sums[0], sums[1]   row g, columns 2t and 2t + 1
//   sums[2], sums[3]   row g + 8, the same columns
// The left bytes are codes of either sign, the right ones weights: the instructions take u8 x s8.
// Sums wrap.
constexpr int kMmaRows = 16, kMmaColumns = 8, kMmaDepth = 32;

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800

// Turing knows 8 x 8 x 16 alone: a lane holds row g of the left, column g of the right, and the
// sums of row g ("Matrix Fragments for mma.m8n8k16").
template <bool is_signed>
__device__ __forceinline__ void multiply_add_quarter(int32_t& first, int32_t& second, uint32_t left,
                                                     uint32_t right) {
  if constexpr (is_signed) {
    asm("mma.sync.aligned.m8n8k16.row.col.s32.s8.s8.s32 {%0, %1}, {%2}, {%3}, {%0, %1};"
        : "+r"(first), "+r"(second)
        : "r"(left), "r"(right));
  } else {
    asm("mma.sync.aligned.m8n8k16.row.col.s32.u8.s8.s32 {%0, %1}, {%2}, {%3}, {%0, %1};"
        : "+r"(first), "+r"(second)
        : "r"(left), "r"(right));
  }
}

template <bool is_signed>
__device__ __forceinline__ void multiply_add(int32_t (&sums)[4], const uint32_t (&left)[4],
                                             const uint32_t (&right)[2]) {
  multiply_add_quarter<is_signed>(sums[0], sums[1], left[0], right[0]);
  multiply_add_quarter<is_signed>(sums[2], sums[3], left[1], right[0]);
  multiply_add_quarter<is_signed>(sums[0], sums[1], left[2], right[1]);
  multiply_add_quarter<is_signed>(sums[2], sums[3], left[3], right[1]);
}

#else

template <bool is_signed>
__device__ __forceinline__ void multiply_add(int32_t (&sums)[4], const uint32_t (&left)[4],
                                             const uint32_t (&right)[2]) {
  if constexpr (is_signed) {
    asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
        "{%8, %9}, {%0, %1, %2, %3};"
        : "+r"(sums[0]), "+r"(sums[1]), "+r"(sums[2]), "+r"(sums[3])
        : "r"(left[0]), "r"(left[1]), "r"(left[2]), "r"(left[3]), "r"(right[0]), "r"(right[1]));
  } else {
    asm("mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
        "{%8, %9}, {%0, %1, %2, %3};"
        : "+r"(sums[0]), "+r"(sums[1]), "+r"(sums[2]), "+r"(sums[3])
        : "r"(left[0]), "r"(left[1]), "r"(left[2]), "r"(left[3]), "r"(right[0]), "r"(right[1]));
  }
}

#endif

}  // namespace qat::kernels::cuda
