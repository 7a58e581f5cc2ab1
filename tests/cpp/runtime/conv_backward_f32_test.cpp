// The float32 gradients against a float64 oracle, and every instruction set against every other.

#include <limits>

#include "kernels/cpu/conv_backward_f32_kernels.h"
#include "runtime/conv_backward_problem.h"

namespace qat::kernels::f32 {
namespace {

class F32 : public ::testing::TestWithParam<Case> {};

// A sum of n fused products in any order is off by at most n roundings of its terms' magnitudes,
// and a term by two more: of code times scale, and of the finished sum times its scale.
void expect_close(const std::vector<float>& got, const std::vector<double>& expected,
                  const std::vector<double>& magnitude, int64_t terms, const char* name) {
  const double eps = static_cast<double>(terms + 2) * 0x1p-24;
  for (size_t i = 0; i < got.size(); ++i) {
    ASSERT_LE(std::abs(got[i] - expected[i]), eps * magnitude[i]) << name << " element " << i;
  }
}

TEST_P(F32, MatchesFloat64) {
  const ConvShape s = GetParam().shape();
  ASSERT_TRUE(is_supported(s));
  for (const bool last : {false, true}) {
    const Problem p(s, last, last, 3);
    const Gradients expected = oracle(p), magnitude = oracle(p, true);
    for (const Kernels* kernels : available_kernels()) {
      expect_close(p.data(*kernels, serial), expected.data, magnitude.data,
                   s.out_channels * s.kernel[0] * s.kernel[1], kernels->name);
      expect_close(p.weights(*kernels, serial), expected.weight, magnitude.weight,
                   s.batch * s.out_size[0] * s.out_size[1], kernels->name);
    }
  }
}

TEST_P(F32, SameBitsEverywhere) {
  const Problem p(GetParam().shape(), true, false, 5);
  const auto data = p.data(*available_kernels().back(), serial);
  const auto weight = p.weights(*available_kernels().back(), serial);
  for (const Kernels* kernels : available_kernels()) {
    for (const int64_t threads : {1, 2, 3, 7}) {
      EXPECT_TRUE(same_bits(data, p.data(*kernels, threaded(threads)))) << kernels->name << threads;
      EXPECT_TRUE(same_bits(weight, p.weights(*kernels, threaded(threads))))
          << kernels->name << threads;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, F32, ::testing::ValuesIn(kCases),
                         [](const auto& info) { return std::string(info.param.name); });

// Sums of several chunks, of several segments, and lines that are longer than a chunk.
constexpr Case kLong[] = {
    {"long_line", 1, 20, 30, {2, 500}, {3, 3}, {1, 2}, {1, 1}, {1, 1}},
    {"long_linear", 1, 40, 150, {1, 700}, {1, 1}, {1, 1}, {0, 0}, {1, 1}},
    {"many_chunks", 3, 17, 33, {40, 41}, {3, 3}, {1, 1}, {1, 1}, {1, 1}},
    {"many_rows", 2, 140, 300, {5, 6}, {3, 3}, {1, 1}, {1, 1}, {1, 1}},
    {"many_input_rows", 2, 300, 20, {5, 6}, {3, 3}, {2, 1}, {1, 1}, {1, 1}},
};

INSTANTIATE_TEST_SUITE_P(Long, F32, ::testing::ValuesIn(kLong),
                         [](const auto& info) { return std::string(info.param.name); });

// Products that float32 holds give exact sums, whatever their order.
TEST(F32Exact, SmallIntegers) {
  Problem p(Case{"", 2, 16, 8, {6, 5}, {3, 3}, {1, 1}, {1, 1}, {1, 1}}.shape(), false, false, 1);
  for (float& g : p.grad) g = std::round(g * 1e5f);
  for (float& scale : p.weight_scale) scale = 0.25f;
  const Gradients expected = oracle(p);
  for (const Kernels* kernels : available_kernels()) {
    const auto data = p.data(*kernels, serial);
    for (size_t i = 0; i < data.size(); ++i) ASSERT_EQ(data[i], expected.data[i]);
  }
}

// What is not finite stays where the formula puts it.
TEST(F32Exact, InfinityReachesItsPositionsAlone) {
  Problem p(Case{"", 1, 4, 8, {4, 4}, {1, 1}, {1, 1}, {0, 0}, {1, 1}}.shape(), false, false, 9);
  for (int8_t& w : p.weight) w = 1;
  p.grad[0] = std::numeric_limits<float>::infinity();
  for (const Kernels* kernels : available_kernels()) {
    const auto data = p.data(*kernels, serial);
    for (size_t i = 0; i < data.size(); ++i) ASSERT_EQ(std::isinf(data[i]), i < 4) << i;
  }
}

TEST(F32Support, RefusesEmptyShapes) {
  ConvShape s = Case{"", 1, 4, 8, {4, 4}, {1, 1}, {1, 1}, {0, 0}, {1, 1}}.shape();
  ASSERT_TRUE(is_supported(s));
  s.out_size = {0, 4};
  EXPECT_FALSE(is_supported(s));
}

}  // namespace
}  // namespace qat::kernels::f32
