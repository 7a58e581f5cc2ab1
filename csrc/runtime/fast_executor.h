#pragma once
// The fast executor with a chosen instruction set: for comparing the paths with each other.

#include "kernels/cpu/gemm_u8s8.h"
#include "runtime/executor.h"

namespace qat::runtime {

std::unique_ptr<Executor> make_fast_executor(const graph::Model& model, Options options,
                                             kernels::u8s8::InstructionSet set);

}  // namespace qat::runtime
