#pragma once

#include <ATen/core/Tensor.h>

namespace qat::insert {

// Makes `real`, a fresh tensor, the mean of `quantized` [N, C, positions...] over its positions.
at::Tensor mean_of_positions(const at::Tensor& quantized, at::Tensor real);

}  // namespace qat::insert
