// The 16-bit gradients against a float64 oracle, and every instruction set against every other.

#include "kernels/cpu/conv_backward_s16_kernels.h"
#include "runtime/conv_backward_problem.h"

namespace qat::kernels::s16 {
namespace {

class S16 : public ::testing::TestWithParam<Case> {};

TEST_P(S16, MatchesFloat64) {
  ASSERT_TRUE(is_supported(GetParam().shape()));
  for (const bool last : {false, true}) {
    const Problem p(GetParam().shape(), last, last, 3);
    const Gradients expected = oracle(p);
    for (const Kernels* kernels : available_kernels()) {
      EXPECT_LE(relative_error(p.data(*kernels, serial), expected.data), kTolerance16)
          << kernels->name;
      EXPECT_LE(relative_error(p.weights(*kernels, serial), expected.weight), kTolerance16)
          << kernels->name;
    }
  }
}

TEST_P(S16, SameBitsEverywhere) {
  const Problem p(GetParam().shape(), true, false, 5);
  const auto data = p.data(portable_kernels(), serial);
  const auto weight = p.weights(portable_kernels(), serial);
  for (const Kernels* kernels : available_kernels()) {
    for (const int64_t threads : {1, 2, 3, 7}) {
      EXPECT_TRUE(same_bits(data, p.data(*kernels, threaded(threads)))) << kernels->name << threads;
      EXPECT_TRUE(same_bits(weight, p.weights(*kernels, threaded(threads))))
          << kernels->name << threads;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, S16, ::testing::ValuesIn(kCases),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace qat::kernels::s16
