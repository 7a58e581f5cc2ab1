#include "ops/cpu/conv_tiles.h"

#include <ATen/Parallel.h>

#include <cstring>

#include "kernels/cpu/conv_u8s8.h"
#include "kernels/cpu/kernels.h"
#include "ops/chain.h"
#include "ops/cpu/elementwise.h"
#include "ops/cpu/packed_weight.h"

namespace qat::ops::tiles {
namespace {

namespace u8s8 = kernels::u8s8;

// A sum of this many products 255 * -128 still fits int32.
constexpr int64_t kLongestSum = 65000;

// QAT_CPU_CAPABILITY chooses among these kernels too.
u8s8::InstructionSet instruction_set() {
  static const u8s8::InstructionSet chosen = [] {
    const char* name = kernels::kernels().name;
    if (std::strcmp(name, "avx512") == 0 || std::strcmp(name, "neon") == 0) {
      return u8s8::best_instruction_set();
    }
    return std::strcmp(name, "avx2") == 0 ? u8s8::InstructionSet::avx2
                                          : u8s8::InstructionSet::portable;
  }();
  return chosen;
}

int threads() { return at::in_parallel_region() ? 1 : at::get_num_threads(); }

std::vector<int64_t> key_of(const u8s8::ConvLayer& layer) {
  return {layer.groups,     layer.stride_h,   layer.stride_w,   layer.padding_h, layer.padding_w,
          layer.dilation_h, layer.dilation_w, layer.zero_point, layer.is_signed};
}

// layer: without its weights. filters: rank 4, the weight or a view of it.
std::shared_ptr<const u8s8::ConvLayer> pack(u8s8::ConvLayer layer, const at::Tensor& filters,
                                            const at::Tensor& weight) {
  const auto make = [&]() -> std::shared_ptr<const void> {
    const bool channels_last =
        !filters.is_contiguous() && filters.is_contiguous(at::MemoryFormat::ChannelsLast);
    const at::Tensor dense = channels_last ? filters : filters.contiguous();
    const auto order =
        channels_last ? u8s8::FilterOrder::channels_last : u8s8::FilterOrder::channels_first;
    auto packed = std::make_shared<u8s8::ConvLayer>(std::move(layer));
    u8s8::pack_layer(*packed, dense.const_data_ptr<int8_t>(), instruction_set(), order, threads());
    return packed;
  };
  const auto key = key_of(layer);
  return std::static_pointer_cast<const u8s8::ConvLayer>(packed_weight(weight, key, make));
}

void run(const u8s8::ConvLayer& layer, const u8s8::ImageSizes& sizes, const at::Tensor& rows,
         at::Tensor& out) {
  u8s8::Epilogue epilogue;
  epilogue.accumulators = true;
  epilogue.values = out.mutable_data_ptr<float>();
  const int64_t step = layer.depthwise ? layer.groups : layer.outputs;
  epilogue.streams = should_stream(out.numel(), step, epilogue.values);
  u8s8::run_conv(layer, sizes, static_cast<const uint8_t*>(rows.const_data_ptr()), epilogue,
                 threads());
}

u8s8::ConvLayer layer_of(const at::Tensor& codes, int64_t zero_point, const at::Tensor& filters,
                         int64_t groups) {
  u8s8::ConvLayer layer;
  layer.groups = groups;
  layer.inputs = filters.size(1);
  layer.outputs = filters.size(0) / groups;
  layer.kernel_h = filters.size(2);
  layer.kernel_w = filters.size(3);
  layer.is_signed = codes.scalar_type() == at::kChar;
  layer.zero_point = static_cast<int32_t>(zero_point);
  return layer;
}

}  // namespace

bool take(const at::Tensor& weight) { return weight.numel() / weight.size(0) <= kLongestSum; }

bool take(const ConvArguments& conv) {
  return !conv.transposed && conv.spatial() <= 2 && take(conv.weight);
}

// One axis is a picture of one row.
void conv(const ConvArguments& conv, at::Tensor& out) {
  const bool line = conv.spatial() == 1;
  const at::Tensor filters = line ? conv.weight.unsqueeze(2) : conv.weight;
  const at::Tensor images = in_rows(line ? conv.codes.unsqueeze(2) : conv.codes, 1);
  u8s8::ConvLayer layer = layer_of(conv.codes, conv.zero_point, filters, conv.groups);
  layer.stride_w = conv.stride.back();
  layer.padding_w = conv.padding.back();
  layer.dilation_w = conv.dilation.back();
  if (!line) {
    layer.stride_h = conv.stride.front();
    layer.padding_h = conv.padding.front();
    layer.dilation_h = conv.dilation.front();
  }
  const u8s8::ImageSizes sizes{images.size(0), images.size(2), images.size(3),
                               line ? 1 : out.size(2), out.size(-1)};
  run(*pack(std::move(layer), filters, conv.weight), sizes, images, out);
}

void linear(const at::Tensor& codes, int64_t zero_point, const at::Tensor& weight,
            at::Tensor& out) {
  const at::Tensor filters = weight.contiguous().view({weight.size(0), weight.size(1), 1, 1});
  const at::Tensor rows = codes.contiguous();
  const int64_t count = codes.numel() / weight.size(1);
  run(*pack(layer_of(codes, zero_point, filters, 1), filters, weight), {1, count, 1, count, 1},
      rows, out);
}

}  // namespace qat::ops::tiles
