#pragma once
// A convolution's backward with random operands, and its gradients in float64.

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <thread>

#include "kernels/cpu/conv_backward.h"

namespace qat::kernels {

inline void serial(int64_t count, const std::function<void(int64_t, int64_t)>& body) {
  body(0, count);
}

inline ParallelFor threaded(int64_t threads) {
  return [threads](int64_t count, const std::function<void(int64_t, int64_t)>& body) {
    std::vector<std::thread> pool;
    for (int64_t i = 0; i < threads; ++i) {
      pool.emplace_back([=] { body(count * i / threads, count * (i + 1) / threads); });
    }
    for (std::thread& thread : pool) thread.join();
  };
}

inline bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

struct Case {
  const char* name;
  int64_t batch, channels, outputs;
  std::array<int64_t, 2> in, kernel, stride, padding, dilation;

  ConvShape shape() const {
    ConvShape s{batch, channels, outputs, in, {}, kernel, stride, padding, dilation};
    for (size_t d = 0; d < 2; ++d) {
      s.out_size[d] = (in[d] + 2 * padding[d] - dilation[d] * (kernel[d] - 1) - 1) / stride[d] + 1;
    }
    return s;
  }
};

inline std::ostream& operator<<(std::ostream& out, const Case& c) { return out << c.name; }

inline constexpr Case kCases[] = {
    {"plain3x3", 2, 16, 32, {9, 8}, {3, 3}, {1, 1}, {1, 1}, {1, 1}},
    {"several_flushes", 4, 32, 96, {14, 14}, {3, 3}, {1, 1}, {1, 1}, {1, 1}},
    {"several_blocks", 2, 80, 130, {5, 4}, {3, 3}, {1, 1}, {1, 1}, {1, 1}},
    {"small_map", 6, 64, 64, {4, 4}, {3, 3}, {1, 1}, {1, 1}, {1, 1}},
    {"odd_channels", 2, 5, 7, {6, 7}, {3, 3}, {1, 1}, {1, 1}, {1, 1}},
    {"odd_batch", 3, 24, 20, {7, 6}, {3, 3}, {1, 1}, {1, 1}, {1, 1}},
    {"one_image", 1, 24, 20, {7, 6}, {3, 3}, {2, 2}, {1, 1}, {1, 1}},
    {"stride2", 2, 32, 48, {10, 9}, {3, 3}, {2, 2}, {1, 1}, {1, 1}},
    {"stem", 2, 3, 64, {25, 24}, {7, 7}, {2, 2}, {3, 3}, {1, 1}},
    {"downsample", 2, 64, 128, {14, 14}, {1, 1}, {2, 2}, {0, 0}, {1, 1}},
    {"pointwise", 2, 16, 96, {13, 12}, {1, 1}, {1, 1}, {0, 0}, {1, 1}},
    {"pointwise_narrow", 2, 144, 24, {6, 6}, {1, 1}, {1, 1}, {0, 0}, {1, 1}},
    {"pointwise_long", 2, 70, 530, {5, 4}, {1, 1}, {1, 1}, {0, 0}, {1, 1}},
    {"linear", 1, 70, 50, {33, 1}, {1, 1}, {1, 1}, {0, 0}, {1, 1}},
    {"linear_one_row", 1, 70, 50, {1, 1}, {1, 1}, {1, 1}, {0, 0}, {1, 1}},
    {"padded_pointwise", 2, 8, 9, {5, 6}, {1, 1}, {2, 3}, {1, 2}, {1, 1}},
    {"dilated", 2, 16, 17, {11, 12}, {3, 3}, {1, 1}, {2, 2}, {2, 2}},
    {"dilated_strided", 2, 16, 17, {11, 12}, {3, 3}, {2, 3}, {2, 4}, {2, 3}},
    {"stride_above_kernel", 2, 9, 17, {11, 12}, {2, 2}, {3, 4}, {0, 0}, {1, 1}},
    {"no_padding_5x5", 2, 9, 17, {11, 12}, {5, 5}, {1, 1}, {0, 0}, {1, 1}},
    {"wide_padding", 2, 9, 16, {5, 4}, {3, 3}, {1, 1}, {4, 3}, {1, 1}},
    {"tall_kernel", 2, 9, 17, {11, 12}, {3, 1}, {2, 3}, {1, 0}, {2, 1}},
    {"one_output", 200, 17, 20, {3, 3}, {3, 3}, {1, 1}, {0, 0}, {1, 1}},
    {"one_input_channel", 2, 1, 140, {9, 8}, {3, 3}, {1, 1}, {1, 1}, {1, 1}},
    {"kernel_beyond_input", 2, 5, 6, {2, 3}, {5, 5}, {2, 1}, {2, 2}, {1, 1}},
    {"rectangular", 2, 12, 16, {9, 7}, {1, 7}, {1, 2}, {0, 3}, {1, 1}},
    {"largest_kernel", 2, 3, 4, {17, 17}, {16, 16}, {1, 1}, {8, 8}, {1, 1}},
};

struct Problem {
  ConvShape s;
  bool channels_last, is_signed;
  std::array<int64_t, 4> strides;
  std::vector<float> grad, weight_scale;
  std::vector<int8_t> weight;
  std::vector<uint8_t> codes;
  int32_t zero_point;

  Problem(const ConvShape& shape, bool last, bool with_sign, uint32_t seed)
      : s(shape), channels_last(last), is_signed(with_sign), zero_point(with_sign ? -7 : 131) {
    const int64_t taps = s.kernel[0] * s.kernel[1], c = s.in_channels;
    strides = last ? std::array{c * taps, int64_t{1}, s.kernel[1] * c, c}
                   : std::array{c * taps, taps, s.kernel[1], int64_t{1}};
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    std::uniform_int_distribution<int> byte(-128, 127);
    grad.resize(static_cast<size_t>(s.batch * s.out_size[0] * s.out_size[1] * s.out_channels));
    for (size_t i = 0; i < grad.size(); ++i) {
      // Output channels of different size: one scale for all would cost the small ones bits.
      const auto k = i % static_cast<size_t>(s.out_channels);
      grad[i] = normal(random) * (k % 3 == 0 ? 1e-3f : 1e-5f);
    }
    weight.resize(static_cast<size_t>(s.out_channels * c * taps));
    for (int8_t& w : weight) w = static_cast<int8_t>(byte(random));
    codes.resize(static_cast<size_t>(s.batch * s.in_size[0] * s.in_size[1] * c));
    for (uint8_t& q : codes) q = static_cast<uint8_t>(byte(random));
    for (int64_t k = 0; k < s.out_channels; ++k) {
      weight_scale.push_back(0.01f + 0.001f * static_cast<float>(k % 5));
    }
  }

  double centred(size_t i) const {
    const int q = is_signed ? static_cast<int8_t>(codes[i]) : codes[i];
    return q - zero_point;
  }

  template <typename Kernels>
  std::vector<float> data(const Kernels& kernels, const ParallelFor& parallel_for) const {
    std::vector<float> out(codes.size(), -1.0f);
    conv_backward_data(kernels, s, grad.data(), weight.data(), strides, weight_scale.data(),
                       out.data(), parallel_for);
    return out;
  }

  template <typename Kernels>
  std::vector<float> weights(const Kernels& kernels, const ParallelFor& parallel_for) const {
    std::vector<float> out(weight.size(), -1.0f);
    conv_backward_weight(kernels, s, grad.data(), codes.data(), zero_point, 0.02f, out.data(),
                         strides, parallel_for, is_signed);
    return out;
  }
};

struct Gradients {
  std::vector<double> data, weight;
};

// From the definition: visits every product of the forward pass. magnitudes: adds |product|.
inline Gradients oracle(const Problem& p, bool magnitudes = false) {
  const ConvShape& s = p.s;
  Gradients out{std::vector<double>(p.codes.size()), std::vector<double>(p.weight.size())};
  size_t at = 0;
  for (int64_t n = 0; n < s.batch; ++n) {
    for (int64_t oh = 0; oh < s.out_size[0]; ++oh) {
      for (int64_t ow = 0; ow < s.out_size[1]; ++ow) {
        for (int64_t k = 0; k < s.out_channels; ++k, ++at) {
          const double g = p.grad[at];
          for (int64_t tap = 0; tap < s.kernel[0] * s.kernel[1]; ++tap) {
            const int64_t i = tap / s.kernel[1], j = tap % s.kernel[1];
            const int64_t h = oh * s.stride[0] - s.padding[0] + i * s.dilation[0];
            const int64_t w = ow * s.stride[1] - s.padding[1] + j * s.dilation[1];
            if (h < 0 || w < 0 || h >= s.in_size[0] || w >= s.in_size[1]) continue;
            for (int64_t c = 0; c < s.in_channels; ++c) {
              const auto x = static_cast<size_t>(
                  ((n * s.in_size[0] + h) * s.in_size[1] + w) * s.in_channels + c);
              const auto y = static_cast<size_t>(k * p.strides[0] + c * p.strides[1] +
                                                 i * p.strides[2] + j * p.strides[3]);
              const double data = g * p.weight_scale[static_cast<size_t>(k)] * p.weight[y];
              const double weight = g * p.centred(x) * 0.02f;
              out.data[x] += magnitudes ? std::abs(data) : data;
              out.weight[y] += magnitudes ? std::abs(weight) : weight;
            }
          }
        }
      }
    }
  }
  return out;
}

inline double relative_error(const std::vector<float>& got, const std::vector<double>& expected) {
  double error = 0, size = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    error += (got[i] - expected[i]) * (got[i] - expected[i]);
    size += expected[i] * expected[i];
  }
  return size == 0 ? error : std::sqrt(error / size);
}

// Of 16-bit products. Rounding to steps of max / 32767 has a deviation of max / (32767 sqrt(12)),
// in every factor of the sum. The gradient's own deviation is at least max / 6 times sqrt(1 / 3),
// because a third of the channels holds large values and 6 deviations hold every sample: 6 sqrt(3)
// / (32767 sqrt(12)) = 9.2e-5. Twice that covers tensors of a few elements.
constexpr double kTolerance16 = 2e-4;

}  // namespace qat::kernels
