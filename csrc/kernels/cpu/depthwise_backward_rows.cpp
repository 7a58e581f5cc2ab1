// Compiled once per instruction set: depthwise gradients by rows, which a ring keeps in the cache.

#include "kernels/cpu/depthwise_backward_rows.h"

#include <algorithm>
#include <type_traits>

#include "kernels/cpu/capability.h"
#include "kernels/cpu/vector.h"

namespace qat::kernels::QAT_CPU_CAPABILITY {
namespace {

using depthwise::Image;
using depthwise::kBlock;
using depthwise::kRingRows;
using numerics::add;
using numerics::mul;

template <int kernel, int stride>
struct Rows {
  const Image& x;
  const depthwise::Shape& s;
  int64_t grad_row, input_row;  // floats of a ring row
  int64_t width;                // channels, whole vectors

  explicit Rows(const Image& image)
      : x(image),
        s(*image.shape),
        grad_row(grad_columns(s) * kBlock),
        input_row(input_columns(s) * kBlock),
        width((image.count + kLanes - 1) / kLanes * kLanes) {}

  float* grad(int64_t oh) const { return x.grad_ring + (oh & (kRingRows - 1)) * grad_row; }
  // Rows begin at -padding.
  float* input(int64_t h) const {
    return x.input_ring + ((h + kernel) & (kRingRows - 1)) * input_row;
  }

  // Calls body(c, lanes) for the vectors of a position. Whole vectors have a constant number of
  // lanes, without which GCC 12 assembles them element by element.
  template <typename Body>
  static __attribute__((always_inline)) void for_vectors(int64_t count, const Body& body) {
    int64_t c = 0;
    for (; c + kLanes <= count; c += kLanes) body(c, kLanes);
    if (c < count) body(c, count - c);
  }

  void load_grad(int64_t oh) const {
    float* to = grad(oh) + grad_border(s) * kBlock;
    const float* from = x.grad + oh * s.out_size[1] * s.channels;
    const int64_t columns = s.out_size[1], channels = s.channels, count = x.count;
    for (int64_t w = 0; w < columns; ++w, to += kBlock, from += channels) {
      for_vectors(
          count, [&](int64_t c, int64_t lanes) __attribute__((always_inline)) {
            store(to + c, load<FloatVector>(from + c, lanes));
          });
    }
  }

  void load_input(int64_t h) const {
    float* row = input(h);
    if (h < 0 || h >= s.in_size[0]) {
      std::fill(row, row + input_row, 0.0f);
      return;
    }
    float* to = row + s.padding[1] * kBlock;
    const uint8_t* from = x.codes + h * s.in_size[1] * s.channels;
    const int64_t columns = s.in_size[1], channels = s.channels, count = x.count;
    const int32_t flip = x.flip, zero_point = x.zero_point;
    for (int64_t w = 0; w < columns; ++w, to += kBlock, from += channels) {
      for_vectors(
          count, [&](int64_t c, int64_t lanes) __attribute__((always_inline)) {
            const IntVector q = load_codes(from + c, lanes) ^ flip;
            store(to + c, __builtin_convertvector(q - zero_point, FloatVector));
          });
    }
  }

  void add_products(int64_t oh) const {
    const float* rows[kernel];
    for (int r = 0; r < kernel; ++r) rows[r] = input(oh * stride - s.padding[0] + r);
    const int64_t columns = s.out_size[1];
    for (int64_t c = 0; c < width; c += kLanes) {
      FloatVector sums[kernel * kernel];
#pragma GCC unroll 25
      for (int t = 0; t < kernel * kernel; ++t)
        sums[t] = load<FloatVector>(x.sums + t * kBlock + c);
      const float* g = grad(oh) + grad_border(s) * kBlock + c;
      for (int64_t w = 0; w < columns; ++w, g += kBlock) {
        const auto y = load<FloatVector>(g);
        const int64_t at = w * stride * kBlock + c;
#pragma GCC unroll 25
        for (int t = 0; t < kernel * kernel; ++t) {
          const auto q = load<FloatVector>(rows[t / kernel] + at + t % kernel * kBlock);
          sums[t] = add(sums[t], mul(y, q));
        }
      }
#pragma GCC unroll 25
      for (int t = 0; t < kernel * kernel; ++t) store(x.sums + t * kBlock + c, sums[t]);
    }
  }

  // Input columns first, first + stride, ... of a row: they share the kernel columns column_skip,
  // column_skip + stride, ..., and the row the kernel rows row_skip, row_skip + stride, ...
  template <int row_skip, int column_skip>
  void write_columns(int64_t h, int64_t first) const {
    constexpr int kRows = (kernel - row_skip + stride - 1) / stride;
    constexpr int kColumns = (kernel - column_skip + stride - 1) / stride;
    const float* rows[kRows];
    for (int i = 0; i < kRows; ++i) {
      const int64_t distance = h + s.padding[0] - row_skip - i * stride, oh = distance / stride;
      const bool inside = distance >= 0 && oh < s.out_size[0];
      rows[i] = inside ? grad(oh) : x.grad_ring + kRingRows * grad_row;
    }
    const int64_t columns = s.in_size[1], channels = s.channels;
    const int64_t begin = (first + s.padding[1] - column_skip) / stride + grad_border(s);
    float* out = x.d_input + h * columns * channels;
    for_vectors(
        x.count, [&](int64_t c, int64_t lanes) __attribute__((always_inline)) {
          FloatVector weight[kRows][kColumns];
#pragma GCC unroll 25
          for (int t = 0; t < kRows * kColumns; ++t) {
            const int r = row_skip + t / kColumns * stride, k = column_skip + t % kColumns * stride;
            weight[t / kColumns][t % kColumns] =
                load<FloatVector>(x.weight + (r * kernel + k) * kBlock + c);
          }
          int64_t at = begin * kBlock + c;
          for (int64_t w = first; w < columns; w += stride, at += kBlock) {
            FloatVector sum{};
#pragma GCC unroll 25
            for (int t = 0; t < kRows * kColumns; ++t) {
              const int r = t / kColumns, k = t % kColumns;
              const auto g = load<FloatVector>(rows[r] + at - k * kBlock);
              sum = t == 0 ? mul(g, weight[r][k]) : add(sum, mul(g, weight[r][k]));
            }
            store(out + w * channels + c, sum, lanes);
          }
        });
  }

  template <int row_skip>
  void write_row(int64_t h) const {
    for (int64_t first = 0; first < stride; ++first) {
      if ((first + s.padding[1]) % stride == 0) {
        write_columns<row_skip, 0>(h, first);
      } else {
        write_columns<row_skip, stride - 1>(h, first);
      }
    }
  }

  void write_row(int64_t h) const {
    if ((h + s.padding[0]) % stride == 0) {
      write_row<0>(h);
    } else {
      write_row<stride - 1>(h);
    }
  }

  void run() const {
    int64_t loaded = -s.padding[0], written = 0;
    for (int64_t oh = 0; oh < s.out_size[0]; ++oh) {
      const int64_t end = oh * stride - s.padding[0] + kernel;
      for (; loaded < end; ++loaded) load_input(loaded);
      load_grad(oh);
      add_products(oh);
      // Row h needs the gradient rows up to (h + padding) / stride.
      const bool last = oh + 1 == s.out_size[0];
      const int64_t ready = last ? s.in_size[0] : (oh + 1) * stride - s.padding[0];
      for (; written < std::min(ready, s.in_size[0]); ++written) write_row(written);
    }
  }
};

}  // namespace

void depthwise_image(const Image& image) {
  const bool wide = image.shape->kernel[0] == 5, strided = image.shape->stride[0] == 2;
  if (wide) return strided ? Rows<5, 2>(image).run() : Rows<5, 1>(image).run();
  return strided ? Rows<3, 2>(image).run() : Rows<3, 1>(image).run();
}

}  // namespace qat::kernels::QAT_CPU_CAPABILITY
