#include "kernels/cpu/conv_u8s8.h"

#include <omp.h>

#include <algorithm>

#include "kernels/cpu/conv_u8s8_band.h"

namespace qat::kernels::u8s8 {
namespace {

// A band's input should stay in half of a 1 MiB level-2 cache beside a block of weights.
constexpr int64_t kBandBytes = 256 * 1024;

// Output rows per task: whole images when there are enough of them, less when the input of a band
// would leave the cache or when the threads would starve.
int64_t rows_per_band(const ConvLayer& layer, const ImageSizes& sizes, int threads) {
  const int64_t row_bytes = band_row_bytes(layer, sizes.output_w);
  const int64_t in_cache = kBandBytes / std::max<int64_t>(row_bytes * layer.stride_h, 1);
  int64_t rows = std::clamp<int64_t>(in_cache, 1, sizes.output_h);
  const int64_t wanted = 2 * threads;  // tasks
  if (threads > 1 && sizes.batch < wanted) {
    const int64_t bands = (wanted + sizes.batch - 1) / sizes.batch;
    rows = std::min(rows, (sizes.output_h + bands - 1) / bands);
  }
  return rows;
}

// Tiles of nearly equal height: 49 positions become 5 or 6 each, not eight times 6 and a single
// one, which would load as many weights for a sixth of the work.
template <typename Body>
void for_each_tile(int64_t positions, int64_t max_rows, const Body& body) {
  const int64_t tiles = (positions + max_rows - 1) / max_rows;
  for (int64_t i = 0; i < tiles; ++i) {
    const int64_t at = positions * i / tiles;
    body(at, positions * (i + 1) / tiles - at);
  }
}

void run_tiles(const ConvLayer& layer, const Band& band, const Epilogue& epilogue) {
  const PackedWeights& packed = layer.weights;
  const Kernels& kernels = *layer.kernels;
  const int64_t stride = layer.channels_out();
  alignas(64) int32_t acc[kMaxTileElements];
  for (int64_t group = 0; group < layer.groups; ++group) {
    const int64_t* taps = band.tap_offsets_of_group(group);
    const std::byte* weights =
        packed.bytes.data() + static_cast<size_t>(group) * packed.group_bytes;
    for (const ChannelBlock& block : packed.blocks) {
      const int64_t channel = group * layer.outputs + block.first;
      const int32_t* start = layer.compensation.data() + channel;
      const int64_t width = block.vectors * kernels.lanes;
      for_each_tile(
          band.positions(), kernels.max_rows[block.vectors], [&](int64_t at, int64_t rows) {
            kernels.tile[block.vectors][rows]({band.pointers() + at, taps, packed.taps,
                                               packed.steps, weights + block.offset, start, acc});
            kernels.epilogue(epilogue, {acc, rows, width, channel, block.count,
                                        (band.first_output() + at) * stride + channel, stride});
          });
    }
  }
}

void run_quads(const ConvLayer& layer, const Band& band, const Epilogue& epilogue) {
  const PackedQuads& packed = layer.quads;
  const int64_t channels = layer.channels_out();
  const int64_t max_rows = kMaxTileElements / packed.width;
  const int64_t* by_tap = band.tap_offsets_of_group(0);
  thread_local std::vector<int64_t> offsets;
  offsets.clear();
  for (const int64_t tap : packed.taps) offsets.push_back(by_tap[tap]);
  alignas(64) int32_t acc[kMaxTileElements];
  for (size_t block = 0; block < packed.channels.size(); ++block) {
    const int64_t channel = packed.channels[block];
    const int32_t* start = layer.compensation.data() + channel;
    for_each_tile(band.positions(), max_rows, [&](int64_t at, int64_t rows) {
      layer.kernels->depthwise_quads({band.pointers() + at, offsets.data(), packed.quads(),
                                      packed.three_columns, rows, packed.width, channel,
                                      packed.block(block), start, acc});
      layer.kernels->epilogue(epilogue,
                              {acc, rows, packed.width, channel, packed.width,
                               (band.first_output() + at) * channels + channel, channels});
    });
  }
}

void run_depthwise(const ConvLayer& layer, const Band& band, const Epilogue& epilogue) {
  const int64_t channels = layer.channels_out();
  const auto stride = static_cast<int64_t>(layer.depthwise_weights.size()) / layer.taps();
  alignas(64) int32_t acc[kMaxTileElements];
  for (int64_t channel = 0; channel < channels; channel += kDepthwiseWidth) {
    const int64_t width = std::min(kDepthwiseWidth, stride - channel);
    const int64_t* taps = band.tap_offsets_of_group(channel);
    for_each_tile(band.positions(), kDepthwiseRows, [&](int64_t at, int64_t rows) {
      layer.kernels->depthwise({band.pointers() + at, taps, layer.taps(), rows, width,
                                layer.depthwise_weights.data() + channel, stride,
                                layer.compensation.data() + channel, acc});
      layer.kernels->epilogue(epilogue,
                              {acc, rows, width, channel, std::min(width, channels - channel),
                               (band.first_output() + at) * channels + channel, channels});
    });
  }
}

void pack_depthwise(ConvLayer& layer, const int8_t* weight) {
  const int64_t stride = (layer.groups + kDepthwiseLanes - 1) / kDepthwiseLanes * kDepthwiseLanes;
  layer.depthwise_weights.assign(static_cast<size_t>(layer.taps() * stride), 0);
  for (int64_t c = 0; c < layer.groups; ++c) {
    for (int64_t tap = 0; tap < layer.taps(); ++tap) {
      layer.depthwise_weights[static_cast<size_t>(tap * stride + c)] =
          weight[c * layer.taps() + tap];
    }
  }
}

// weight [outputs][inputs][kernel_h][kernel_w] as [outputs][kernel_w * inputs][kernel_h].
std::vector<int8_t> merge_taps(const ConvLayer& layer, const int8_t* weight) {
  const int64_t inputs = layer.inputs, h = layer.kernel_h, w = layer.kernel_w;
  std::vector<int8_t> merged(static_cast<size_t>(layer.outputs * inputs * h * w));
  for (int64_t k = 0; k < layer.outputs; ++k) {
    for (int64_t c = 0; c < inputs; ++c) {
      for (int64_t y = 0; y < h; ++y) {
        for (int64_t x = 0; x < w; ++x) {
          const int64_t to = ((k * w + x) * inputs + c) * h + y;
          merged[static_cast<size_t>(to)] = weight[((k * inputs + c) * h + y) * w + x];
        }
      }
    }
  }
  return merged;
}

void pack_tiles(ConvLayer& layer, const int8_t* weight) {
  const Kernels& kernels = *layer.kernels;
  layer.merged = layer.groups == 1 && layer.kernel_w > 1 && layer.dilation_w == 1 &&
                 layer.inputs % kernels.channels_per_step != 0;
  if (layer.merged) {
    layer.weights = pack_weights(kernels, merge_taps(layer, weight).data(), 1, layer.outputs,
                                 layer.kernel_w * layer.inputs, layer.kernel_h);
  } else {
    layer.weights =
        pack_weights(kernels, weight, layer.groups, layer.outputs, layer.inputs, layer.taps());
  }
}

}  // namespace

void pack_layer(ConvLayer& layer, const int8_t* weight, InstructionSet set) {
  layer.kernels = &kernels_for(set);
  layer.depthwise = layer.groups > 1 && layer.inputs == 1 && layer.outputs == 1;
  if (layer.depthwise) {
    if (layer.kernels->depthwise_quads != nullptr) {
      layer.quads = pack_quads(weight, layer.groups, layer.kernel_h, layer.kernel_w);
    }
    if (layer.quads.width == 0) pack_depthwise(layer, weight);
  } else {
    pack_tiles(layer, weight);
  }
  const int64_t per_channel = layer.inputs * layer.taps();
  for (int64_t k = 0; k < layer.channels_out(); ++k) {
    int64_t sum = 0;
    for (int64_t i = 0; i < per_channel; ++i) sum += weight[k * per_channel + i];
    const int64_t zero_point = unsigned_zero_point(layer);
    layer.compensation.push_back(static_cast<int32_t>(static_cast<uint32_t>(-zero_point * sum)));
  }
  layer.compensation.resize(layer.compensation.size() + kEpiloguePadding);
}

int64_t run_conv(const ConvLayer& layer, const ImageSizes& sizes, const uint8_t* codes,
                 const Epilogue& epilogue, int threads) {
  if (sizes.batch == 0 || sizes.output_h == 0) return 0;
  const int64_t rows = rows_per_band(layer, sizes, threads);
  const int64_t bands = (sizes.output_h + rows - 1) / rows;
  const int64_t tasks = sizes.batch * bands;
  const auto used = static_cast<int>(std::min<int64_t>(threads, tasks));
#pragma omp parallel for num_threads(used) schedule(dynamic, 1) if (used > 1)
  for (int64_t task = 0; task < tasks; ++task) {
    const int64_t begin = task % bands * rows;
    Band band(layer, sizes, codes, task / bands, begin, std::min(begin + rows, sizes.output_h));
    if (layer.quads.width != 0) {
      run_quads(layer, band, epilogue);
    } else if (layer.depthwise) {
      run_depthwise(layer, band, epilogue);
    } else {
      run_tiles(layer, band, epilogue);
    }
  }
  return sizes.batch * sizes.output_h * sizes.output_w * layer.channels_out() * layer.inputs *
         layer.taps();
}

}  // namespace qat::kernels::u8s8
