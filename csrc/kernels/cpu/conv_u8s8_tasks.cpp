// Cutting a convolution into tasks for threads.

#include <algorithm>

#include "kernels/cpu/conv_u8s8_band.h"

namespace qat::kernels::u8s8 {
namespace {

// A band's input should stay in half of a 1 MiB level-2 cache beside a block of weights.
constexpr int64_t kBandBytes = 256 * 1024;

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// A pointwise layer without borders does not see rows: any positions may be a band of it.
ImageSizes flat(const ConvLayer& layer, const ImageSizes& sizes) {
  if (layer.taps() != 1 || layer.stride_h != 1 || layer.stride_w != 1 || !reads_directly(layer)) {
    return sizes;
  }
  const int64_t positions = sizes.batch * sizes.output_h * sizes.output_w;
  return {1, positions, 1, positions, 1};
}

// Bands whose input stays in the cache.
int64_t bands_in_cache(const ConvLayer& layer, const ImageSizes& sizes) {
  const int64_t row_bytes = band_row_bytes(layer, sizes.output_w) * layer.stride_h;
  const int64_t rows = kBandBytes / std::max<int64_t>(row_bytes, 1);
  return ceil_div(sizes.output_h,
                  std::clamp<int64_t>(rows, 1, std::max<int64_t>(sizes.output_h, 1)));
}

// Multiply-accumulates of a task that is worth handing to another thread, 3 to 5 us, and of one
// that is long enough for a thread to have two, so that the others can take what a late one leaves.
constexpr int64_t kTaskMacs = 512 * 1024, kLongTaskMacs = 4 * kTaskMacs;

// A depthwise layer takes about six times as long for each multiply-accumulate.
constexpr int64_t kDepthwiseCost = 6;

int64_t wanted_tasks(const ConvLayer& layer, const ImageSizes& sizes, int threads) {
  if (threads == 1) return 1;
  const int64_t work = conv_work(layer, sizes);
  if (work / (2 * threads) >= kLongTaskMacs) return 2 * threads;
  return std::clamp<int64_t>(work / kTaskMacs, 1, threads);
}

// Note [Parts of the channels]
// Threads that split the positions read all weights each. Late layers have more weights than input
// (2.4 MB and 25 KB in ResNet-18), and more than a level-2 cache holds: there each thread takes
// some of the channels, if these are enough for nearly equal parts, and all positions.
bool splits_channels(const ConvLayer& layer, const ImageSizes& sizes, int64_t parts) {
  if (layer.groups > 1 || parts == 1) return false;
  const int64_t input = sizes.batch * sizes.input_h * sizes.input_w * layer.channels_in();
  if (static_cast<int64_t>(layer.weights.group_bytes) < 2 * input) return false;
  const auto blocks = static_cast<int64_t>(layer.weights.blocks.size());
  return 8 * ceil_div(blocks, parts) * parts <= 9 * blocks;
}

}  // namespace

ConvTasks split_conv(const ConvLayer& layer, const ImageSizes& sizes, int threads) {
  ConvTasks tasks;
  tasks.sizes = flat(layer, sizes);
  if (sizes.batch == 0 || sizes.output_h == 0) return tasks;
  const int64_t wanted = wanted_tasks(layer, sizes, threads);
  const int64_t parts = std::min<int64_t>(wanted, threads);
  tasks.bands = bands_in_cache(layer, tasks.sizes);
  if (splits_channels(layer, sizes, parts)) {
    tasks.parts = parts;
  } else if (tasks.sizes.batch * tasks.bands < wanted) {
    tasks.bands = std::min(tasks.sizes.output_h, ceil_div(wanted, tasks.sizes.batch));
  }
  tasks.count = tasks.sizes.batch * tasks.bands * tasks.parts;
  tasks.memory = band_bytes(layer, tasks.sizes, ceil_div(tasks.sizes.output_h, tasks.bands));
  return tasks;
}

void run_conv_task(const ConvLayer& layer, const ConvTasks& tasks, int64_t task,
                   const uint8_t* codes, const Epilogue& epilogue, std::byte* memory) {
  const int64_t band = task % tasks.bands, image = task / tasks.bands % tasks.sizes.batch;
  const int64_t part = task / (tasks.bands * tasks.sizes.batch);
  const auto blocks = static_cast<int64_t>(layer.weights.blocks.size());
  const BlockRange range{static_cast<size_t>(blocks * part / tasks.parts),
                         static_cast<size_t>(blocks * (part + 1) / tasks.parts)};
  const Band rows(layer, tasks.sizes, codes, image, tasks.first_row(band),
                  tasks.first_row(band + 1), memory);
  run_band(layer, rows, epilogue, range);
}

int64_t conv_macs(const ConvLayer& layer, const ImageSizes& sizes) {
  return sizes.batch * sizes.output_h * sizes.output_w * layer.channels_out() * layer.inputs *
         layer.taps();
}

int64_t conv_work(const ConvLayer& layer, const ImageSizes& sizes) {
  return conv_macs(layer, sizes) * (layer.depthwise ? kDepthwiseCost : 1);
}

int64_t run_conv(const ConvLayer& layer, const ImageSizes& sizes, const uint8_t* codes,
                 const Epilogue& epilogue, int threads) {
  const ConvTasks tasks = split_conv(layer, sizes, threads);
  const auto run = [&](int64_t task) {
    thread_local AlignedBytes memory;
    thread_local size_t size = 0;
    if (size < tasks.memory) {
      memory = AlignedBytes(tasks.memory);
      size = tasks.memory;
    }
    run_conv_task(layer, tasks, task, codes, epilogue, memory.data());
  };
  const auto used = static_cast<int>(std::min<int64_t>(threads, tasks.count));
  if (used > 1) {
#pragma omp parallel for num_threads(used) schedule(dynamic, 1)
    for (int64_t task = 0; task < tasks.count; ++task) run(task);
  } else {  // a region of one thread would allocate
    for (int64_t task = 0; task < tasks.count; ++task) run(task);
  }
  return conv_macs(layer, sizes);
}

}  // namespace qat::kernels::u8s8
