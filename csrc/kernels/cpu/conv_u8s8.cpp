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

void run_tiles(const ConvLayer& layer, const Band& band, const Epilogue& epilogue) {
  const PackedWeights& packed = layer.weights;
  const Kernels& kernels = *layer.kernels;
  alignas(64) int32_t acc[kMaxTileElements];
  for (int64_t group = 0; group < layer.groups; ++group) {
    const std::vector<int64_t> taps = band.tap_offsets_of_group(group);
    for (const ChannelBlock& block : packed.blocks) {
      const int64_t max_rows = kernels.max_rows[block.vectors];
      for (int64_t at = 0; at < band.positions(); at += max_rows) {
        const int64_t rows = std::min(max_rows, band.positions() - at);
        const Tile tile{
            band.pointers() + at,
            taps.data(),
            packed.taps,
            packed.steps,
            packed.bytes.data() + static_cast<size_t>(group) * packed.group_bytes + block.offset,
            acc};
        kernels.tile[block.vectors][rows](tile);
        const int64_t channel = group * layer.outputs + block.first;
        kernels.epilogue(epilogue, {acc, rows, block.vectors * kernels.lanes, channel, block.count,
                                    (band.first_output() + at) * layer.channels_out() + channel,
                                    layer.channels_out()});
      }
    }
  }
}

void run_depthwise(const ConvLayer& layer, const Band& band, const Epilogue& epilogue) {
  const int64_t channels = layer.channels_out();
  const auto stride = static_cast<int64_t>(layer.depthwise_weights.size()) / layer.taps();
  alignas(64) int32_t acc[kMaxTileElements];
  for (int64_t channel = 0; channel < channels; channel += kDepthwiseWidth) {
    const int64_t width = std::min(kDepthwiseWidth, stride - channel);
    const std::vector<int64_t> taps = band.tap_offsets_of_group(channel);
    for (int64_t at = 0; at < band.positions(); at += kDepthwiseRows) {
      const int64_t rows = std::min(kDepthwiseRows, band.positions() - at);
      layer.kernels->depthwise({band.pointers() + at, taps.data(), layer.taps(), rows, width,
                                layer.depthwise_weights.data() + channel, stride, acc});
      layer.kernels->epilogue(epilogue,
                              {acc, rows, width, channel, std::min(width, channels - channel),
                               (band.first_output() + at) * channels + channel, channels});
    }
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

}  // namespace

void pack_layer(ConvLayer& layer, const int8_t* weight, InstructionSet set) {
  layer.kernels = &kernels_for(set);
  layer.depthwise = layer.groups > 1 && layer.inputs == 1 && layer.outputs == 1;
  if (layer.depthwise) {
    pack_depthwise(layer, weight);
  } else {
    layer.weights = pack_weights(*layer.kernels, weight, layer.groups, layer.outputs, layer.inputs,
                                 layer.taps());
  }
  const int64_t per_channel = layer.inputs * layer.taps();
  for (int64_t k = 0; k < layer.channels_out(); ++k) {
    int64_t sum = 0;
    for (int64_t i = 0; i < per_channel; ++i) sum += weight[k * per_channel + i];
    const int64_t zero_point = unsigned_zero_point(layer);
    layer.compensation.push_back(static_cast<int32_t>(static_cast<uint32_t>(-zero_point * sum)));
  }
}

int64_t run_conv(const ConvLayer& layer, const ImageSizes& sizes, const uint8_t* codes,
                 const Epilogue& epilogue, int threads) {
  if (sizes.batch == 0 || sizes.output_h == 0) return 0;
  const int64_t rows = rows_per_band(layer, sizes, threads);
  const int64_t bands = (sizes.output_h + rows - 1) / rows;
  const int64_t tasks = sizes.batch * bands;
  Epilogue own = epilogue;
  own.compensation = layer.compensation.data();
  const auto used = static_cast<int>(std::min<int64_t>(threads, tasks));
#pragma omp parallel for num_threads(used) schedule(dynamic, 1)
  for (int64_t task = 0; task < tasks; ++task) {
    const int64_t begin = task % bands * rows;
    Band band(layer, sizes, codes, task / bands, begin, std::min(begin + rows, sizes.output_h));
    if (layer.depthwise) {
      run_depthwise(layer, band, own);
    } else {
      run_tiles(layer, band, own);
    }
  }
  return sizes.batch * sizes.output_h * sizes.output_w * layer.channels_out() * layer.inputs *
         layer.taps();
}

}  // namespace qat::kernels::u8s8
