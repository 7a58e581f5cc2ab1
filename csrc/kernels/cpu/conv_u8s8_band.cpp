#include "kernels/cpu/conv_u8s8_band.h"

#include <algorithm>
#include <cstring>

namespace qat::kernels::u8s8 {
namespace {

int64_t round_up(int64_t n, int64_t multiple) { return (n + multiple - 1) / multiple * multiple; }

// The form of a copied band.
struct Format {
  int64_t element;  // bytes per channel
  int64_t group;    // elements per group
  int64_t pixel;    // elements per position
  explicit Format(const ConvLayer& layer)
      : element(layer.depthwise ? 1 : layer.kernels->source_bytes()),
        group(layer.depthwise ? 1
              : layer.merged  ? layer.inputs
                              : layer.weights.padded_inputs()),
        pixel(layer.depthwise ? round_up(layer.groups, kDepthwiseLanes) : layer.groups * group) {}
};

// A merged tap reads up to a step beyond its last channel, where it meets weights of zero.
constexpr int64_t kSlack = 4;

int64_t columns(const ConvLayer& layer, int64_t output_w) {
  return (output_w - 1) * layer.stride_w + (layer.kernel_w - 1) * layer.dilation_w + 1;
}

template <typename Element>
void copy_pixels(const ConvLayer& layer, const Format& format, const uint8_t* from, Element* to,
                 int64_t pixels) {
  const uint8_t flip = layer.is_signed ? 0x80 : 0;
  if (format.pixel == layer.channels_in()) {
    const int64_t n = pixels * format.pixel;
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) to[i] = static_cast<uint8_t>(from[i] ^ flip);
    return;
  }
  const int64_t inputs = layer.depthwise ? layer.groups : layer.inputs;
  const int64_t groups = layer.depthwise ? 1 : layer.groups;
  for (int64_t p = 0; p < pixels; ++p, to += format.pixel) {
    for (int64_t g = 0; g < groups; ++g, from += inputs) {
      for (int64_t c = 0; c < inputs; ++c) {
        to[g * format.group + c] = static_cast<uint8_t>(from[c] ^ flip);
      }
    }
  }
}

// Row `y` of the image (outside it: padding) with its left and right border.
template <typename Element>
void copy_row(const ConvLayer& layer, const Format& format, const ImageSizes& sizes,
              const uint8_t* image, int64_t y, int64_t width, Element* to) {
  const auto zero_point = static_cast<Element>(unsigned_zero_point(layer));
  if (y < 0 || y >= sizes.input_h) {
    std::fill_n(to, width * format.pixel, zero_point);
    return;
  }
  const int64_t left = std::min(layer.padding_w, width);
  const int64_t inside = std::min(sizes.input_w, width - left);
  const int64_t right = width - left - inside;
  std::fill_n(to, left * format.pixel, zero_point);
  copy_pixels(layer, format, image + y * sizes.input_w * layer.channels_in(),
              to + left * format.pixel, inside);
  std::fill_n(to + (left + inside) * format.pixel, right * format.pixel, zero_point);
}

int64_t input_rows(const ConvLayer& layer, int64_t output_rows) {
  return (output_rows - 1) * layer.stride_h + (layer.kernel_h - 1) * layer.dilation_h + 1;
}

// Copies `rows` input rows from row `first` on.
void copy_rows(const ConvLayer& layer, const ImageSizes& sizes, const uint8_t* image, int64_t first,
               int64_t rows, uint8_t* to) {
  const Format format(layer);
  const int64_t width = columns(layer, sizes.output_w);
  const int64_t row_bytes = width * format.pixel * format.element;
  for (int64_t r = 0; r < rows; ++r, to += row_bytes) {
    if (format.element == 1) {
      copy_row(layer, format, sizes, image, first + r, width, to);
    } else {
      copy_row(layer, format, sizes, image, first + r, width, reinterpret_cast<int16_t*>(to));
    }
  }
}

// Where the parts of a band's memory begin, in bytes.
struct Parts {
  size_t tap_offsets, quad_offsets, rows, end;
  Parts(const ConvLayer& layer, const ImageSizes& sizes, int64_t output_rows) {
    const auto after = [](size_t at, int64_t bytes) {
      return at + static_cast<size_t>(round_up(bytes, 64));
    };
    const bool copies = !reads_directly(layer);
    tap_offsets = after(0, output_rows * sizes.output_w * 8);
    quad_offsets = after(tap_offsets, layer.taps() * 8);
    rows = after(quad_offsets, static_cast<int64_t>(layer.quads.taps.size()) * 8);
    const int64_t copied =
        input_rows(layer, output_rows) * band_row_bytes(layer, sizes.output_w) + kSlack;
    end = after(rows, copies ? copied : 0);
  }
};

}  // namespace

int64_t band_row_bytes(const ConvLayer& layer, int64_t output_w) {
  const Format format(layer);
  return columns(layer, output_w) * format.pixel * format.element;
}

bool reads_directly(const ConvLayer& layer) {
  const Format format(layer);
  return !layer.is_signed && !layer.merged && layer.padding_h == 0 && layer.padding_w == 0 &&
         format.element == 1 && format.pixel == layer.channels_in();
}

size_t band_bytes(const ConvLayer& layer, const ImageSizes& sizes, int64_t rows) {
  return Parts(layer, sizes, rows).end;
}

Band::Band(const ConvLayer& layer, const ImageSizes& sizes, const uint8_t* codes, int64_t image,
           int64_t begin, int64_t end, std::byte* memory)
    : layer_(layer), pointers_(reinterpret_cast<const uint8_t**>(memory)) {
  const Parts parts(layer, sizes, end - begin);
  const Format format(layer);
  tap_offsets_ = reinterpret_cast<int64_t*>(memory + parts.tap_offsets);
  quad_offsets_ = reinterpret_cast<int64_t*>(memory + parts.quad_offsets);
  positions_ = (end - begin) * sizes.output_w;
  first_output_ = (image * sizes.output_h + begin) * sizes.output_w;
  pixel_bytes_ = format.pixel * format.element;
  group_bytes_ = format.group * format.element;
  const uint8_t* source = codes + image * sizes.input_h * sizes.input_w * layer.channels_in();
  if (reads_directly(layer)) {
    row_bytes_ = sizes.input_w * pixel_bytes_;
    source += begin * layer.stride_h * row_bytes_;
  } else {
    row_bytes_ = columns(layer, sizes.output_w) * pixel_bytes_;
    auto* rows = reinterpret_cast<uint8_t*>(memory + parts.rows);
    copy_rows(layer, sizes, source, begin * layer.stride_h - layer.padding_h,
              input_rows(layer, end - begin), rows);
    source = rows;
  }
  const uint8_t** to = pointers_;
  const int64_t step = layer.stride_w * pixel_bytes_;
  for (int64_t y = 0; y < end - begin; ++y, to += sizes.output_w) {
    const uint8_t* row = source + y * layer.stride_h * row_bytes_;
    for (int64_t x = 0; x < sizes.output_w; ++x) to[x] = row + x * step;
  }
}

const int64_t* Band::tap_offsets_of_group(int64_t group) const {
  int64_t* to = tap_offsets_;
  for (int64_t y = 0; y < layer_.kernel_h; ++y) {
    const int64_t row = y * layer_.dilation_h * row_bytes_ + group * group_bytes_;
    const int64_t columns = layer_.merged ? 1 : layer_.kernel_w;
    for (int64_t x = 0; x < columns; ++x) *to++ = row + x * layer_.dilation_w * pixel_bytes_;
  }
  return tap_offsets_;
}

const int64_t* Band::quad_offsets() const {
  const int64_t* by_tap = tap_offsets_of_group(0);
  int64_t* to = quad_offsets_;
  for (const int64_t tap : layer_.quads.taps) *to++ = by_tap[tap];
  return quad_offsets_;
}

}  // namespace qat::kernels::u8s8
