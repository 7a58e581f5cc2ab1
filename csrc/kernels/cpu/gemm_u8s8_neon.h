#pragma once
// What the tables of ARM share: four channels to a vector, codes less 128 in the tiles, one
// epilogue and one depthwise kernel.
//
// Note [Codes less 128]
// Armv8.0 multiplies bytes of equal signedness only, and so does sdot. A code with its top bit
// flipped is the code less 128 as int8, and 128 times the sum of a filter's weights, which depends
// on the layer alone, is part of where the sums begin (Kernels::code_offset). usdot needs none of
// it.

#include "kernels/cpu/gemm_u8s8_table.h"

namespace qat::kernels::u8s8 {

constexpr int kNeonLanes = 4;

void neon_depthwise(const DepthwiseTile& tile);
void neon_epilogue(const Epilogue& epilogue, const EpilogueTile& tile);

}  // namespace qat::kernels::u8s8
