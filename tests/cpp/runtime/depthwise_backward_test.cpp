// The fused depthwise gradients against a float64 oracle, and every instruction set and number of
// threads against one another.

#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <set>

#include "error.h"
#include "kernels/cpu/depthwise_backward_rows.h"
#include "kernels/cpu/tables.h"

namespace qat::kernels::depthwise {
namespace {

struct Case {
  const char* name;
  int64_t batch, channels;
  std::array<int64_t, 2> in;
  int64_t kernel, stride;
  std::array<int64_t, 2> padding;

  Shape shape() const {
    Shape s{batch, channels, in, {}, {kernel, kernel}, {stride, stride}, padding};
    for (size_t d = 0; d < 2; ++d) s.out_size[d] = (in[d] + 2 * padding[d] - kernel) / stride + 1;
    return s;
  }
};

std::ostream& operator<<(std::ostream& out, const Case& c) { return out << c.name; }

struct Problem {
  Shape s;
  std::vector<float> grad, weight_scale;
  std::vector<uint8_t> codes;
  std::vector<int8_t> weight;
  Operands x;

  Problem(const Shape& shape, bool channels_last, bool is_signed) : s(shape) {
    const int64_t taps = s.kernel[0] * s.kernel[1];
    std::mt19937 random(11);
    std::normal_distribution<float> normal;
    std::uniform_int_distribution<int> byte(-128, 127);
    grad.resize(static_cast<size_t>(s.batch * s.out_size[0] * s.out_size[1] * s.channels));
    for (float& g : grad) g = normal(random);
    codes.resize(static_cast<size_t>(s.batch * s.in_size[0] * s.in_size[1] * s.channels));
    for (uint8_t& q : codes) q = static_cast<uint8_t>(byte(random));
    weight.resize(static_cast<size_t>(s.channels * taps));
    for (int8_t& w : weight) w = static_cast<int8_t>(byte(random));
    for (int64_t c = 0; c < s.channels; ++c) {
      weight_scale.push_back(0.01f + 0.001f * static_cast<float>(c % 7));
    }
    x.grad = grad.data();
    x.codes = codes.data();
    x.codes_are_signed = is_signed;
    x.zero_point = is_signed ? 9 : 120;
    x.input_scale = 0.03f;
    x.weight = weight.data();
    x.weight_strides = channels_last ? std::array{int64_t{1}, s.kernel[1] * s.channels, s.channels}
                                     : std::array{taps, s.kernel[1], int64_t{1}};
    x.weight_scale = weight_scale.data();
  }
  Problem(const Problem&) = delete;

  double centred(size_t i) const {
    const int q = x.codes_are_signed ? static_cast<int8_t>(codes[i]) : codes[i];
    return q - x.zero_point;
  }
};

template <typename T>
struct Gradients {
  std::vector<T> input, weight;

  explicit Gradients(const Problem& p) : input(p.codes.size(), T{}), weight(p.weight.size(), T{}) {}
};

// From the definition, with the sums of magnitudes that bound the rounding errors.
void oracle(const Problem& p, Gradients<double>& value, Gradients<double>& magnitude) {
  const Shape& s = p.s;
  for (size_t at = 0; at < p.grad.size(); ++at) {
    const auto i = static_cast<int64_t>(at);
    const int64_t c = i % s.channels, ow = i / s.channels % s.out_size[1];
    const int64_t row = i / s.channels / s.out_size[1];
    const int64_t oh = row % s.out_size[0], n = row / s.out_size[0];
    for (int64_t tap = 0; tap < s.kernel[0] * s.kernel[1]; ++tap) {
      const int64_t h = oh * s.stride[0] - s.padding[0] + tap / s.kernel[1];
      const int64_t w = ow * s.stride[1] - s.padding[1] + tap % s.kernel[1];
      if (h < 0 || w < 0 || h >= s.in_size[0] || w >= s.in_size[1]) continue;
      const auto in =
          static_cast<size_t>(((n * s.in_size[0] + h) * s.in_size[1] + w) * s.channels + c);
      const auto k = static_cast<size_t>(c * p.x.weight_strides[0] +
                                         tap / s.kernel[1] * p.x.weight_strides[1] +
                                         tap % s.kernel[1] * p.x.weight_strides[2]);
      const double d_input =
          double{p.grad[at]} * p.weight[k] * p.weight_scale[static_cast<size_t>(c)];
      const double d_weight = p.grad[at] * p.centred(in) * 0.03f;
      value.input[in] += d_input;
      value.weight[k] += d_weight;
      magnitude.input[in] += std::abs(d_input);
      magnitude.weight[k] += std::abs(d_weight);
    }
  }
}

// A sum of n float products has an error of at most (n + 2) * 2^-24 times the sum of magnitudes:
// one rounding for each product, one for the scale, n - 1 for the additions.
void expect_near(const std::vector<float>& got, const std::vector<double>& value,
                 const std::vector<double>& magnitude, int64_t n, const char* what) {
  for (size_t i = 0; i < got.size(); ++i) {
    const double bound = static_cast<double>(n + 3) * 0x1p-24 * magnitude[i];
    ASSERT_LE(std::abs(got[i] - value[i]), bound) << what << " " << i;
  }
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

ParallelFor in_parts(int64_t parts) {
  return [parts](int64_t count, const std::function<void(int64_t, int64_t)>& body) {
    for (int64_t i = parts; i-- > 0;) body(count * i / parts, count * (i + 1) / parts);
  };
}

class Depthwise : public ::testing::TestWithParam<Case> {};

TEST_P(Depthwise, MatchesFloat64WithTheSameBitsEverywhere) {
  ASSERT_TRUE(is_supported(GetParam().shape()));
  for (const bool flag : {false, true}) {
    const Problem p(GetParam().shape(), flag, flag);
    Gradients<double> value(p), magnitude(p);
    oracle(p, value, magnitude);
    Gradients<float> first(p);
    backward(p.s, p.x, first.input.data(), first.weight.data(), in_parts(1));
    expect_near(first.input, value.input, magnitude.input, p.s.kernel[0] * p.s.kernel[1], "input");
    expect_near(first.weight, value.weight, magnitude.weight,
                p.s.batch * p.s.out_size[0] * p.s.out_size[1], "weight");
    for (const KernelTable* table : available_tables()) {
      for (const int64_t parts : {1, 2, 5}) {
        Gradients<float> other(p);
        backward(*table, p.s, p.x, other.input.data(), other.weight.data(), in_parts(parts));
        EXPECT_TRUE(same_bits(first.input, other.input)) << table->name << parts;
        EXPECT_TRUE(same_bits(first.weight, other.weight)) << table->name << parts;
      }
    }
  }
}

constexpr Case kCases[] = {
    {"k3", 2, 32, {9, 8}, 3, 1, {1, 1}},
    {"k3_stride2", 2, 32, {9, 8}, 3, 2, {1, 1}},
    {"k3_stride2_even", 2, 48, {12, 14}, 3, 2, {1, 1}},
    {"k3_no_padding", 1, 16, {7, 10}, 3, 1, {0, 0}},
    {"k3_stride2_no_padding", 1, 16, {8, 10}, 3, 2, {0, 0}},
    {"k3_wide_padding", 1, 16, {4, 5}, 3, 1, {2, 2}},
    {"k3_stride2_wide_padding", 1, 16, {5, 4}, 3, 2, {2, 1}},
    {"k3_one_pixel", 3, 40, {1, 1}, 3, 1, {1, 1}},
    {"k3_odd_channels", 2, 71, {6, 5}, 3, 1, {1, 1}},
    {"k3_many_rows", 1, 16, {40, 6}, 3, 1, {1, 1}},
    {"k5", 2, 72, {9, 8}, 5, 1, {2, 2}},
    {"k5_stride2", 2, 24, {15, 14}, 5, 2, {2, 2}},
    {"k5_stride2_odd_padding", 2, 24, {15, 14}, 5, 2, {1, 3}},
    {"k5_small", 2, 24, {2, 3}, 5, 1, {2, 2}},
};

INSTANTIATE_TEST_SUITE_P(Shapes, Depthwise, ::testing::ValuesIn(kCases),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(DepthwiseLimits, SupportsWhatItHasLoopsFor) {
  EXPECT_FALSE(is_supported(Case{"", 1, 8, {9, 9}, 7, 1, {3, 3}}.shape()));
  EXPECT_FALSE(is_supported(Case{"", 1, 8, {9, 9}, 3, 3, {1, 1}}.shape()));
  EXPECT_FALSE(is_supported(Case{"", 1, 8, {9, 9}, 3, 1, {3, 3}}.shape()));
  EXPECT_FALSE(is_supported(Case{"", 0, 8, {9, 9}, 3, 1, {1, 1}}.shape()));
}

// The variable is read once per process, and the instruction sets differ in nothing but time.
TEST(DepthwiseCapability, FollowsTheVariableByCodeOfItsOwn) {
  std::set<void (*)(const Image&)> found;
  for (const KernelTable* table : available_tables()) {
    const std::string name = table->name;
    if (name == "neon") continue;  // the code of `generic`
    EXPECT_TRUE(found.insert(table->depthwise_image).second) << name;
  }
#if defined(__aarch64__)
  GTEST_SKIP() << "the test starts itself anew, which qemu's user mode cannot";
#endif
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const auto run_under = [](const char* capability) {
    setenv("QAT_CPU_CAPABILITY", capability, 1);
    const Problem p(kCases[0].shape(), false, false);
    Gradients<float> result(p);
    try {
      backward(p.s, p.x, result.input.data(), result.weight.data(), in_parts(1));
    } catch (const Error& error) {
      std::fputs(error.what(), stderr);
      std::exit(1);
    }
    std::exit(0);
  };
  EXPECT_EXIT(run_under("generic"), ::testing::ExitedWithCode(0), "");
  EXPECT_EXIT(run_under("sse9"), ::testing::ExitedWithCode(1), "QAT_CPU_CAPABILITY: expected");
}

}  // namespace
}  // namespace qat::kernels::depthwise
