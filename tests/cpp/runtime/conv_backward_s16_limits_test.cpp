// The 16-bit gradients at the ends of their ranges.

#include <limits>
#include <string_view>

#include "kernels/cpu/conv_backward_s16_kernels.h"
#include "runtime/conv_backward_problem.h"

namespace qat::kernels::s16 {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

TEST(S16Limits, LargestSumsDoNotOverflow) {
  // Every product at its largest, with one sign: a sum one pair longer than a flush would wrap.
  Problem p(Case{"", 2, 16, 516, {16, 17}, {1, 1}, {1, 1}, {0, 0}, {1, 1}}.shape(), false, false,
            1);
  std::fill(p.grad.begin(), p.grad.end(), -3.0f);
  std::fill(p.weight.begin(), p.weight.end(), int8_t{-128});
  std::fill(p.weight_scale.begin(), p.weight_scale.end(), 0.5f);
  std::fill(p.codes.begin(), p.codes.end(), uint8_t{0});
  p.zero_point = 255;
  const Gradients expected = oracle(p);
  for (const Kernels* kernels : available_kernels()) {
    // Constant operands leave the roundings of the scale and of float sums: a few times 2^-24.
    EXPECT_LE(relative_error(p.data(*kernels, serial), expected.data), 1e-6) << kernels->name;
    EXPECT_LE(relative_error(p.weights(*kernels, serial), expected.weight), 1e-6) << kernels->name;
  }
}

Problem small_problem() {
  return Problem(Case{"", 2, 16, 8, {6, 5}, {3, 3}, {1, 1}, {1, 1}, {1, 1}}.shape(), false, false,
                 9);
}

TEST(S16Limits, ZeroGradientGivesZeros) {
  Problem p = small_problem();
  std::fill(p.grad.begin(), p.grad.end(), 0.0f);
  for (const Kernels* kernels : available_kernels()) {
    for (const float x : p.data(*kernels, serial)) ASSERT_EQ(x, 0.0f) << kernels->name;
    for (const float x : p.weights(*kernels, serial)) ASSERT_EQ(x, 0.0f) << kernels->name;
  }
}

TEST(S16Limits, NonFiniteGradientGivesNan) {
  for (const float bad : {kNan, -kNan, kInfinity, -kInfinity}) {
    Problem p = small_problem();
    p.grad[8 * 11 + 3] = bad;  // output channel 3
    for (const Kernels* kernels : available_kernels()) {
      for (const float x : p.data(*kernels, serial)) ASSERT_TRUE(std::isnan(x)) << kernels->name;
      const auto weight = p.weights(*kernels, serial);
      for (size_t i = 0; i < weight.size(); ++i) {
        ASSERT_EQ(std::isnan(weight[i]), i / (16 * 9) == 3) << kernels->name << " " << i;
      }
    }
  }
}

TEST(S16Limits, UnreachedPositionsStayZero) {
  // Stride 3 and a kernel of 2: every third row and column takes part in no product.
  Problem p(Case{"", 1, 4, 8, {6, 6}, {2, 2}, {3, 3}, {0, 0}, {1, 1}}.shape(), false, false, 9);
  p.grad[0] = kNan;
  const auto data = p.data(portable_kernels(), serial);
  for (size_t i = 0; i < data.size(); ++i) {
    const size_t w = i / 4 % 6, h = i / 24;
    if (w % 3 == 2 || h % 3 == 2) {
      ASSERT_EQ(data[i], 0.0f) << i;
    } else {
      ASSERT_TRUE(std::isnan(data[i])) << i;
    }
  }
}

TEST(S16Limits, OverflowingProductWithTheScaleGivesNan) {
  Problem p = small_problem();
  p.grad[0] = 1e38f;
  p.weight_scale[0] = 1e3f;
  for (const float x : p.data(portable_kernels(), serial)) ASSERT_TRUE(std::isnan(x));
}

TEST(S16Limits, TinyGradientsAreFiniteAndScaled) {
  for (const float size : {1e-26f, 1e-30f, 1e-36f, 1e-40f}) {
    Problem p = small_problem();
    for (float& g : p.grad) g *= size * 1e3f;
    const Gradients expected = oracle(p);
    for (const Kernels* kernels : available_kernels()) {
      const auto data = p.data(*kernels, serial);
      const auto weight = p.weights(*kernels, serial);
      for (const float x : data) ASSERT_TRUE(std::isfinite(x));
      for (const float x : weight) ASSERT_TRUE(std::isfinite(x));
      // Below 2^-110 (8e-34) steps are coarser by design, down to a result of zero.
      EXPECT_LE(relative_error(data, expected.data), size > 1e-29f ? kTolerance16 : 1.0);
      EXPECT_LE(relative_error(weight, expected.weight), size > 1e-29f ? kTolerance16 : 1.0);
    }
  }
}

TEST(S16Limits, RefusesWhatItCannotFlush) {
  const Case kernel{"", 2, 3, 4, {20, 20}, {16, 17}, {1, 1}, {8, 8}, {1, 1}};
  EXPECT_FALSE(is_supported(kernel.shape()));
  Case empty{"", 0, 3, 4, {20, 20}, {3, 3}, {1, 1}, {1, 1}, {1, 1}};
  EXPECT_FALSE(is_supported(empty.shape()));
}

TEST(S16Limits, PrefersFloat32WhereGradientsAreHardlyReused) {
  const Case expand{"", 16, 16, 96, {56, 56}, {1, 1}, {1, 1}, {0, 0}, {1, 1}};
  EXPECT_TRUE(weight_prefers_float32(expand.shape()));
  EXPECT_FALSE(data_prefers_float32(expand.shape()));
  const Case cached{"", 16, 16, 64, {28, 28}, {1, 1}, {1, 1}, {0, 0}, {1, 1}};
  EXPECT_TRUE(data_prefers_float32(cached.shape()));
  const Case squeeze{"", 16, 32, 16, {56, 56}, {1, 1}, {1, 1}, {0, 0}, {1, 1}};
  EXPECT_TRUE(weight_prefers_float32(squeeze.shape()));
  EXPECT_TRUE(data_prefers_float32(squeeze.shape()));
  const Case wide{"", 16, 96, 576, {7, 7}, {1, 1}, {1, 1}, {0, 0}, {1, 1}};
  EXPECT_FALSE(weight_prefers_float32(wide.shape()));
  EXPECT_FALSE(data_prefers_float32(wide.shape()));
  const Case narrow{"", 16, 16, 16, {28, 28}, {3, 3}, {1, 1}, {1, 1}, {1, 1}};
  EXPECT_FALSE(weight_prefers_float32(narrow.shape()));
  EXPECT_FALSE(data_prefers_float32(narrow.shape()));
}

TEST(ConvBackwardS16, FollowsTheCapability) {
  EXPECT_STREQ(kernels_for("generic").name, "portable");
#if defined(__x86_64__)
  if (u8s8::is_supported(u8s8::InstructionSet::avx2)) {
    EXPECT_STREQ(kernels_for("avx2").name, "avx2");
  }
  if (available_kernels().front()->name == std::string_view("avx512_vnni")) {
    EXPECT_STREQ(kernels_for("avx512").name, "avx512_vnni");
  }
#endif
}

}  // namespace
}  // namespace qat::kernels::s16
