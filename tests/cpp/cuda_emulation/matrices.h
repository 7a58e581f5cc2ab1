#pragma once
// Matrices that the lanes of a warp hold together, as NVIDIA's PTX ISA lays them out.

#include <cstdint>

#include "machine.h"

namespace qat::emulation {

// mma.sync.aligned.m16n8k32.row.col.s32.{s8,u8}.s8.s32.
// left: registers of the lane whose bytes are signed or not; right: signed ones.
void multiply_16x8x32(int32_t (&sums)[4], const uint32_t (&left)[4], const uint32_t (&right)[2],
                      bool is_signed, const Site& site);

// ldmatrix.sync.aligned.m8n8.x4.shared.b16: four matrices of 8 rows of 16 bytes, to whose rows the
// lanes point in turn.
void load_matrices(uint32_t (&words)[4], const void* row, const Site& site);

}  // namespace qat::emulation
