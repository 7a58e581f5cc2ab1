#pragma once
// Which kernels this machine can be trusted with.

#include "kernels/cpu/gemm_u8s8.h"

namespace qat::runtime {

// True where the instruction set gives the bits of the reference executor on a small model that
// passes through every kernel.
bool passes_self_test(kernels::u8s8::InstructionSet set);

// The fastest supported instruction set that passes, found once per process (milliseconds). Throws
// qat::Error where not even the portable kernels do.
kernels::u8s8::InstructionSet trusted_instruction_set();

}  // namespace qat::runtime
