// Between layouts, and from floats in one to codes in the other.

#include "runtime/fast_layers.h"
#include "runtime/parallel.h"
#include "runtime/quantize_ranges.h"

namespace qat::runtime {
namespace {

constexpr int64_t kBlockCodes = 4096;  // quantized before they are interleaved
constexpr int64_t kBlockChannels = 64;

// to[i * channels + c] = rows[c * n + i] for `count` of the channels.
void interleave(const uint8_t* rows, int64_t count, int64_t n, int64_t channels, uint8_t* to) {
  if (channels == 3) {
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t c = 0; c < 3; ++c) to[i * 3 + c] = rows[c * n + i];
    }
    return;
  }
  for (int64_t c = 0; c < count; ++c) {
    for (int64_t i = 0; i < n; ++i) to[i * channels + c] = rows[c * n + i];
  }
}

struct ToChannelsLast {
  const graph::Value& value;
  const View* input;
  const View* output;

  // `n` positions of one image from `at`; plane: its positions.
  void run_positions(const float* image, int64_t plane, int64_t at, int64_t n, uint8_t* to) const {
    const int64_t channels = input->shape[1];
    uint8_t rows[kBlockCodes];
    for (int64_t first = 0; first < channels; first += kBlockChannels) {
      const int64_t count = std::min(kBlockChannels, channels - first);
      for (int64_t c = 0; c < count; ++c) {
        quantize_range(image + (first + c) * plane + at, rows + c * n, n, value.qparams,
                       value.format);
      }
      interleave(rows, count, n, channels, to + first);
    }
  }

  void operator()(int threads, MacCount&) const {
    const Sizes& s = input->shape;  // [N, C, H, W]
    const int64_t channels = s[1], plane = s[2] * s[3];
    if (input->numel == 0) return;
    const int64_t block = kBlockCodes / std::min(channels, kBlockChannels);
    const int64_t blocks = (plane + block - 1) / block;  // of an image
    const int64_t grain = kElementGrain / (channels * block);
    parallel_for(threads, s[0] * blocks, grain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t image = i / blocks, at = i % blocks * block;
        run_positions(input->as<float>() + image * channels * plane, plane, at,
                      std::min(block, plane - at),
                      output->as<uint8_t>() + (image * plane + at) * channels);
      }
    });
  }
};

}  // namespace

Binder make_quantize_to_channels_last(const Site& site) {
  return [site](const Binding& at) -> Bound {
    const Sizes& s = at.inputs[0]->shape;
    check_made(site.node, {s[0], s[2], s[3], s[1]}, *at.output);
    return ToChannelsLast{site.output(), at.inputs[0], at.output};
  };
}

Binder make_layout_change(Layout layout) {
  return [layout](const Binding& at) -> Bound {
    return [layout, from = at.inputs[0], to = at.output](int threads, MacCount&) {
      change_layout(from->data, from->shape, graph::element_size(from->type), layout, to->data,
                    threads);
    };
  };
}

}  // namespace qat::runtime
