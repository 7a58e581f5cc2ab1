#pragma once

#include <ATen/core/Tensor.h>

namespace qat::insert {

// `real` as the mean of `quantized` [N, C, positions...] over its positions.
at::Tensor mean_of_positions(const at::Tensor& quantized, const at::Tensor& real);

}  // namespace qat::insert
