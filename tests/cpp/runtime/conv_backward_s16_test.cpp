// The 16-bit gradients against a float64 oracle, and every instruction set against every other.

#include <cstring>
#include <thread>

#include "runtime/conv_backward_s16_problem.h"

namespace qat::kernels::s16 {
namespace {

ParallelFor threaded(int64_t threads) {
  return [threads](int64_t count, const std::function<void(int64_t, int64_t)>& body) {
    std::vector<std::thread> pool;
    for (int64_t i = 0; i < threads; ++i) {
      pool.emplace_back([=] { body(count * i / threads, count * (i + 1) / threads); });
    }
    for (std::thread& thread : pool) thread.join();
  };
}

class S16 : public ::testing::TestWithParam<Case> {};

TEST_P(S16, MatchesFloat64) {
  ASSERT_TRUE(is_supported(GetParam().shape()));
  for (const bool last : {false, true}) {
    const Problem p(GetParam().shape(), last, last, 3);
    const Gradients expected = oracle(p);
    for (const Kernels* kernels : available_kernels()) {
      EXPECT_LE(relative_error(p.data(*kernels, serial), expected.data), kTolerance)
          << kernels->name;
      EXPECT_LE(relative_error(p.weights(*kernels, serial), expected.weight), kTolerance)
          << kernels->name;
    }
  }
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
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

constexpr Case kCases[] = {
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
    {"rectangular", 2, 12, 16, {9, 7}, {1, 7}, {1, 2}, {0, 3}, {1, 1}},
    {"largest_kernel", 2, 3, 4, {17, 17}, {16, 16}, {1, 1}, {8, 8}, {1, 1}},
};

INSTANTIATE_TEST_SUITE_P(Shapes, S16, ::testing::ValuesIn(kCases),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace qat::kernels::s16
