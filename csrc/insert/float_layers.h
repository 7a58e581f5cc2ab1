#pragma once
// Accumulators of integer layers from float products (docs/numerics.md, switches of the training
// step; Note [Float products]).

#include <optional>

#include "insert/quantized_tensor.h"

namespace qat::insert {

// The bits of conv_int and linear_int (geometry absent: a linear layer).
at::Tensor accumulate_float(const Codes& input, const at::Tensor& weight,
                            const std::optional<ConvGeometry>& geometry);

}  // namespace qat::insert
