#include "kernels/cpu/conv_u8s8.h"

#include <algorithm>

#include "kernels/cpu/conv_u8s8_band.h"
#if defined(__SSE2__)
#include "kernels/cpu/intrinsics.h"
#endif

namespace qat::kernels::u8s8 {
namespace {

// Elements that are read faster than a thread is woken.
constexpr int64_t kShortTask = 65536;

// Tiles of nearly equal height: 49 positions become 5 or 6 each, not eight times 6 and a single
// one, which would load as many weights for a sixth of the work.
template <typename Body>
void for_each_tile(int64_t first, int64_t end, int64_t max_rows, const Body& body) {
  const int64_t positions = end - first, tiles = (positions + max_rows - 1) / max_rows;
  for (int64_t i = 0; i < tiles; ++i) {
    const int64_t at = positions * i / tiles;
    body(first + at, positions * (i + 1) / tiles - at);
  }
}

// Note [Whole lines]
// Accumulators take four bytes each and leave the caches soon after they are written. Where
// several blocks of channels share a row of them, all blocks of a few positions are computed
// before the next positions, so that each line is written as a whole; weights that do not stay in
// the level-2 cache meanwhile cost more than that gains.
constexpr size_t kSmallWeights = 256 * 1024;
constexpr int64_t kChunkElements = 4096;  // 16 KB, half of a level-1 cache

// Calls body(first, end) for stretches of the positions of a band.
template <typename Body>
void for_each_chunk(int64_t positions, int64_t channels, bool whole_lines, const Body& body) {
  const int64_t few = std::max<int64_t>(kChunkElements / channels, kMaxRows);
  const int64_t length = whole_lines ? few : std::max<int64_t>(positions, 1);
  for (int64_t first = 0; first < positions; first += length) {
    body(first, std::min(first + length, positions));
  }
}

void run_tiles(const ConvLayer& layer, const Band& band, const Epilogue& epilogue,
               const BlockRange& blocks) {
  const PackedWeights& packed = layer.weights;
  const Kernels& kernels = *layer.kernels;
  const int64_t stride = layer.channels_out();
  const bool whole_lines = epilogue.accumulators && packed.group_bytes <= kSmallWeights;
  alignas(64) int32_t acc[kMaxTileElements];
  for (int64_t group = 0; group < layer.groups; ++group) {
    const int64_t* taps = band.tap_offsets_of_group(group);
    const std::byte* weights =
        packed.bytes.data() + static_cast<size_t>(group) * packed.group_bytes;
    const auto run = [&](const ChannelBlock& block, int64_t at, int64_t rows) {
      const int64_t channel = group * layer.outputs + block.first;
      kernels.tile[block.vectors][rows]({band.pointers() + at, taps, packed.taps, packed.steps,
                                         weights + block.offset,
                                         layer.compensation.data() + channel, acc});
      kernels.epilogue(epilogue, {acc, rows, block.vectors * kernels.lanes, channel, block.count,
                                  (band.first_output() + at) * stride + channel, stride});
    };
    for_each_chunk(band.positions(), stride, whole_lines, [&](int64_t first, int64_t end) {
      for (size_t i = blocks.first; i < blocks.end; ++i) {
        const ChannelBlock& block = packed.blocks[i];
        for_each_tile(first, end, kernels.max_rows[block.vectors],
                      [&](int64_t at, int64_t rows) { run(block, at, rows); });
      }
    });
  }
}

void run_quads(const ConvLayer& layer, const Band& band, const Epilogue& epilogue) {
  const PackedQuads& packed = layer.quads;
  const int64_t channels = layer.channels_out();
  const int64_t max_rows = kMaxTileElements / packed.width;
  const int64_t* offsets = band.quad_offsets();
  alignas(64) int32_t acc[kMaxTileElements];
  const auto run = [&](size_t block, int64_t at, int64_t rows) {
    const int64_t channel = packed.channels[block];
    layer.kernels->depthwise_quads({band.pointers() + at, offsets, packed.quads(),
                                    packed.three_columns, rows, packed.width, channel,
                                    packed.block(block), layer.compensation.data() + channel, acc});
    layer.kernels->epilogue(epilogue, {acc, rows, packed.width, channel, packed.width,
                                       (band.first_output() + at) * channels + channel, channels});
  };
  const auto run_chunk = [&](int64_t first, int64_t end) {
    for (size_t block = 0; block < packed.channels.size(); ++block) {
      for_each_tile(first, end, max_rows, [&](int64_t at, int64_t rows) { run(block, at, rows); });
    }
  };
  for_each_chunk(band.positions(), channels, epilogue.accumulators, run_chunk);
}

void run_depthwise(const ConvLayer& layer, const Band& band, const Epilogue& epilogue) {
  const int64_t channels = layer.channels_out();
  const auto stride = static_cast<int64_t>(layer.depthwise_weights.size()) / layer.taps();
  alignas(64) int32_t acc[kMaxTileElements];
  const auto run = [&](const int64_t* taps, int64_t channel, int64_t at, int64_t rows) {
    const int64_t width = std::min(kDepthwiseWidth, stride - channel);
    layer.kernels->depthwise({band.pointers() + at, taps, layer.taps(), rows, width,
                              layer.depthwise_weights.data() + channel, stride,
                              layer.compensation.data() + channel, acc});
    layer.kernels->epilogue(epilogue,
                            {acc, rows, width, channel, std::min(width, channels - channel),
                             (band.first_output() + at) * channels + channel, channels});
  };
  const auto run_chunk = [&](int64_t first, int64_t end) {
    for (int64_t channel = 0; channel < channels; channel += kDepthwiseWidth) {
      const int64_t* taps = band.tap_offsets_of_group(channel);
      for_each_tile(first, end, kDepthwiseRows,
                    [&](int64_t at, int64_t rows) { run(taps, channel, at, rows); });
    }
  };
  for_each_chunk(band.positions(), channels, epilogue.accumulators, run_chunk);
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

void pack_tiles(ConvLayer& layer, const int8_t* weight, FilterOrder order, int threads) {
  layer.merged = layer.groups == 1 && layer.kernel_w > 1 && layer.dilation_w == 1 &&
                 layer.inputs % layer.kernels->channels_per_step != 0;
  PackedWeights& packed = layer.weights;
  packed.kernels = layer.kernels;
  packed.groups = layer.groups;
  packed.outputs = layer.outputs;
  packed.inputs = layer.merged ? layer.kernel_w * layer.inputs : layer.inputs;
  packed.taps = layer.merged ? layer.kernel_h : layer.taps();
  const int64_t filter = packed.inputs * packed.taps;
  if (order == FilterOrder::channels_last || layer.taps() == 1) {
    pack_weights(packed, {weight, filter, 1, packed.inputs}, threads);
  } else if (layer.merged) {
    const auto merged = merge_taps(layer, weight);
    pack_weights(packed, {merged.data(), filter, packed.taps, 1}, threads);
  } else {
    pack_weights(packed, {weight, filter, packed.taps, 1}, threads);
  }
}

// -(zero point - code offset) * sum of a filter, modulo 2^32.
void set_compensation(ConvLayer& layer, const int8_t* weight, int threads) {
  const int64_t channels = layer.channels_out(), filter = layer.inputs * layer.taps();
  layer.compensation.assign(static_cast<size_t>(channels) + kEpiloguePadding, 0);
  const int32_t offset = layer.depthwise ? 0 : layer.kernels->code_offset;
  const auto zero_point = static_cast<uint32_t>(unsigned_zero_point(layer) - offset);
  if (zero_point == 0) return;
#pragma omp parallel for num_threads(threads) if (threads > 1 && channels * filter > kShortTask)
  for (int64_t k = 0; k < channels; ++k) {
    int32_t sum = 0;  // of at most 2^24 elements
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < filter; ++i) sum += weight[k * filter + i];
    const uint32_t product = zero_point * static_cast<uint32_t>(sum);
    layer.compensation[static_cast<size_t>(k)] = static_cast<int32_t>(0 - product);
  }
}

}  // namespace

void pack_layer(ConvLayer& layer, const int8_t* weight, InstructionSet set, FilterOrder order,
                int threads) {
  layer.kernels = &kernels_for(set);
  layer.depthwise = layer.groups > 1 && layer.inputs == 1 && layer.outputs == 1;
  if (layer.depthwise) {
    if (layer.kernels->depthwise_quads != nullptr) {
      layer.quads = pack_quads(weight, layer.groups, layer.kernel_h, layer.kernel_w);
    }
    if (layer.quads.width == 0) pack_depthwise(layer, weight);
  } else {
    pack_tiles(layer, weight, order, threads);
  }
  set_compensation(layer, weight, threads);
}

void run_band(const ConvLayer& layer, const Band& band, const Epilogue& epilogue,
              const BlockRange& blocks) {
  if (layer.quads.width != 0) {
    run_quads(layer, band, epilogue);
  } else if (layer.depthwise) {
    run_depthwise(layer, band, epilogue);
  } else {
    run_tiles(layer, band, epilogue, blocks);
  }
#if defined(__SSE2__)
  if (epilogue.streams) _mm_sfence();  // the next reader may be another thread
#endif
}

}  // namespace qat::kernels::u8s8
