#include "kernels/cpu/conv_backward_weight.h"

namespace qat::kernels {

int64_t count_segments(int64_t tiles, int64_t chunks) {
  constexpr int64_t kItems = 16, kChunksPerSegment = 4;
  return std::clamp<int64_t>((kItems + tiles - 1) / tiles, 1,
                             std::max<int64_t>(1, chunks / kChunksPerSegment));
}

void write_weight_block(const WeightBlock& block, const float* acc, const WeightOutput& out,
                        void (*scatter)(const ScatterTile&, float*)) {
  const bool by_grad = block.rows_are_grad;
  const int64_t kernel_w = block.shape.kernel[1], channels = block.rows.count / block.merged;
  ScatterTile tile;
  tile.taps = block.shape.kernel[0] * kernel_w;
  tile.columns = block.columns.count;
  tile.column_stride = out.strides[by_grad ? 1 : 0];
  tile.scale = out.scale;
  std::vector<const float*> from(static_cast<size_t>(tile.taps));
  std::vector<int64_t> offsets(static_cast<size_t>(tile.taps));
  tile.from = from.data();
  tile.offsets = offsets.data();
  for (int64_t i = 0; i < channels; ++i) {
    for (int64_t tap = 0; tap < tile.taps; ++tap) {
      const int64_t row = tap % block.merged * channels + i;
      from[static_cast<size_t>(tap)] =
          acc + (tap / block.merged * block.rows.count + row) * block.columns.width;
      offsets[static_cast<size_t>(tap)] =
          tap / kernel_w * out.strides[2] + tap % kernel_w * out.strides[3];
    }
    scatter(tile, out.d_weight + (block.rows.first + i) * out.strides[by_grad ? 0 : 1] +
                      block.columns.first * tile.column_stride);
  }
}

}  // namespace qat::kernels
