#pragma once
// The fixed blocks of a reduction over rows, the same as on the CPU, and their workspaces.

#include <ATen/ops/empty.h>

#include "kernels/cpu/tile.h"
#include "kernels/cuda/kernels.h"

namespace qat::ops::cuda {

inline kernels::cuda::ColumnBlocks column_blocks(
    int64_t elements, int64_t channels,
    kernels::Tile (*tile_of)(int64_t channels) = kernels::make_tile) {
  const auto tile = tile_of(channels);
  const auto blocks = kernels::make_blocks(elements, tile);
  return {channels, tile.width, blocks.count, blocks.elements, elements};
}

// Device memory for `sums` sums per channel.
class SumBuffers {
 public:
  SumBuffers(const kernels::cuda::ColumnBlocks& blocks, int64_t sums,
             const at::TensorOptions& options)
      : columns_(at::empty({blocks.columns() * sums}, options.dtype(at::kDouble))),
        partials_(at::empty({blocks.count * sums * blocks.channels}, options.dtype(at::kDouble))) {}
  kernels::cuda::SumWorkspace workspace() {
    return {columns_.mutable_data_ptr<double>(), partials_.mutable_data_ptr<double>()};
  }

 private:
  at::Tensor columns_, partials_;
};

// Device memory for order keys of ranges.
inline at::Tensor empty_keys(int64_t count, const at::TensorOptions& options) {
  return at::empty({2 * count}, options.dtype(at::kInt));
}

inline kernels::RangeKeys* keys_of(at::Tensor& buffer) {
  static_assert(sizeof(kernels::RangeKeys) == 2 * sizeof(int32_t));
  return reinterpret_cast<kernels::RangeKeys*>(buffer.mutable_data_ptr<int32_t>());
}

}  // namespace qat::ops::cuda
