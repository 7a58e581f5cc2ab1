#pragma once
// Tensor cores as loops over the matrices that the lanes of a warp hold together.

#include "matrices.h"

namespace qat::kernels::cuda {

constexpr int kMmaRows = 16, kMmaColumns = 8, kMmaDepth = 32;

template <bool is_signed>
void multiply_add(int32_t (&sums)[4], const uint32_t (&left)[4], const uint32_t (&right)[2],
                  const emulation::Site site = emulation::Site::current()) {
  emulation::multiply_16x8x32(sums, left, right, is_signed, site);
}

}  // namespace qat::kernels::cuda
