#pragma once
// Included in front of every operator file: its CUDA kernels are registered as the CPU kernels of a
// library of their own, so that they and those of qat_ext can be called side by side.

#include <torch/library.h>

#undef TORCH_LIBRARY_IMPL
#define TORCH_LIBRARY_IMPL(ns, key, m) _TORCH_LIBRARY_IMPL(ns##_##key##_emulated, CPU, m, C10_UID)
