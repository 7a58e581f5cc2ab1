#pragma once
// The finite range of one batch, as a whole or of each channel.

#include <ATen/core/Tensor.h>

#include <optional>
#include <tuple>

#include "quantizers/observer.h"

namespace qat {

// Nothing where no value is finite. -0 counts as 0.
std::optional<Range> range_of_values(const at::Tensor& values);

// (min, max), float32 with one element per index of the axis; 0 where no value is finite.
std::tuple<at::Tensor, at::Tensor> channel_ranges(const at::Tensor& values, int64_t axis);

}  // namespace qat
