#pragma once
// The sums of conv_int and linear_int: float(sum((q - zero_point) w)) over each window.

#include "kernels/cuda/kernels.h"

namespace qat::kernels::cuda {

// op: whom errors name.
void window_products(const char* op, const CodeMatrix&, const int8_t* weight, const ConvShape&,
                     float* out, cudaStream_t);

}  // namespace qat::kernels::cuda
