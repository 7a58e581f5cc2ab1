// Between floats and codes, and between layouts, on views.

#include <cstring>

#include "runtime/fast_layers.h"
#include "runtime/parallel.h"
#include "runtime/quantize_ranges.h"

namespace qat::runtime {
namespace {

// Interleaves C rows of n codes.
void interleave(const uint8_t* rows, int64_t channels, int64_t n, uint8_t* to) {
  if (channels == 3) {
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t c = 0; c < 3; ++c) to[i * 3 + c] = rows[c * n + i];
    }
    return;
  }
  for (int64_t c = 0; c < channels; ++c) {
    for (int64_t i = 0; i < n; ++i) to[i * channels + c] = rows[c * n + i];
  }
}

struct ToChannelsLast {
  const graph::Value& value;
  const View* input;
  const View* output;

  void operator()(int threads, MacCount&) const {
    const Sizes& s = input->shape;  // [N, C, H, W]
    const int64_t channels = s[1], height = s[2], width = s[3];
    const int64_t grain = kElementGrain / std::max<int64_t>(channels * width, 1);
    parallel_for(threads, s[0] * height, grain, [&](int64_t begin, int64_t end) {
      thread_local std::vector<uint8_t> rows;
      const auto needed = static_cast<size_t>(channels * width);
      if (rows.size() < needed) rows.resize(needed);
      for (int64_t row = begin; row < end; ++row) {
        const int64_t image = row / height, y = row % height;
        for (int64_t c = 0; c < channels; ++c) {
          const float* from = input->as<float>() + ((image * channels + c) * height + y) * width;
          quantize_range(from, rows.data() + c * width, width, value.qparams, value.format);
        }
        interleave(rows.data(), channels, width, output->as<uint8_t>() + row * width * channels);
      }
    });
  }
};

}  // namespace

Binder make_fast_quantize(const Site& site) {
  return [site](const std::vector<const View*>& inputs, const View& output) {
    check_made(site.node, inputs[0]->shape, output);
    return [&value = site.output(), from = inputs[0], to = &output](int threads, MacCount&) {
      parallel_for(threads, to->numel, kElementGrain, [&](int64_t begin, int64_t end) {
        quantize_range(from->as<float>() + begin, to->as<uint8_t>() + begin, end - begin,
                       value.qparams, value.format);
      });
    };
  };
}

Binder make_fast_dequantize(const Site& site) {
  return [site](const std::vector<const View*>& inputs, const View& output) {
    check_made(site.node, inputs[0]->shape, output);
    return [&value = site.input(0), from = inputs[0], to = &output](int threads, MacCount&) {
      parallel_for(threads, to->numel, kElementGrain, [&](int64_t begin, int64_t end) {
        dequantize_range(from->as<uint8_t>() + begin, to->as<float>() + begin, end - begin,
                         value.qparams, value.format.is_signed);
      });
    };
  };
}

Binder make_fast_copy(const Site& site) {
  return [site](const std::vector<const View*>& inputs, const View& output) {
    if (inputs[0]->numel != output.numel) check_made(site.node, inputs[0]->shape, output);
    return [from = inputs[0], to = &output](int, MacCount&) {
      if (to->numel > 0) std::memcpy(to->data, from->data, to->bytes());
    };
  };
}

Binder make_quantize_to_channels_last(const Site& site) {
  return [site](const std::vector<const View*>& inputs, const View& output) {
    const Sizes& s = inputs[0]->shape;
    check_made(site.node, {s[0], s[2], s[3], s[1]}, output);
    return ToChannelsLast{site.output(), inputs[0], &output};
  };
}

Binder make_layout_change(Layout layout) {
  return [layout](const std::vector<const View*>& inputs, const View& output) {
    return [layout, from = inputs[0], to = &output](int threads, MacCount&) {
      change_layout(from->data, from->shape, graph::element_size(from->type), layout, to->data,
                    threads);
    };
  };
}

}  // namespace qat::runtime
