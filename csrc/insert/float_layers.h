#pragma once
// Accumulators of integer layers from float products (docs/numerics.md, switches of the training
// step; Note [Float products]).

#include "insert/quantized_tensor.h"

namespace qat::insert {

// The bits of conv_int and linear_int (geometry nullptr: a linear layer).
at::Tensor accumulate_float(const Codes& input, const at::Tensor& weight,
                            const ConvGeometry* geometry);

}  // namespace qat::insert
