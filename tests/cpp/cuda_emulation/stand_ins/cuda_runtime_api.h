#pragma once
// What the launches use of the CUDA runtime.

#include "driver_types.h"
#include "machine.h"

struct dim3 : qat::emulation::Index {
  explicit dim3(unsigned x, unsigned y = 1) : Index{x, y, 1} {}
};

using cudaError_t = int;
constexpr cudaError_t cudaSuccess = 0;
inline const char* cudaGetErrorString(cudaError_t) { return "emulated"; }
