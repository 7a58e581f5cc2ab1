#pragma once
// ldmatrix as loads through the addresses of a warp's lanes.

#include "matrices.h"

namespace qat::kernels::cuda {

inline void load_blocks(uint32_t (&words)[4], const void* row,
                        const emulation::Site site = emulation::Site::current()) {
  emulation::load_matrices(words, row, site);
}

}  // namespace qat::kernels::cuda
