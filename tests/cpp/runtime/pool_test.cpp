// Pools and means. Expected numbers are those of torch 2.13 for the same input.

#include "runtime/builder.h"

namespace qat::runtime::testing {
namespace {

// One operator on codes 1, 2, 3, ... of the given sizes (one image, one channel), scale 1.
std::vector<float> pooled(const Attributes& attributes, const Sizes& input, const Sizes& output,
                          int32_t zero_point = 0) {
  Builder b;
  Sizes rest{1};
  rest.insert(rest.end(), input.begin(), input.end());
  const int64_t x = b.codes_input(batched(rest), {1.0f, zero_point});
  Sizes result{1};
  result.insert(result.end(), output.begin(), output.end());
  const bool is_max = std::holds_alternative<MaxPoolAttributes>(attributes);
  int64_t y = is_max ? b.codes_node(attributes, {x}, batched(result))
                     : b.float_node(attributes, {x}, batched(result));
  if (is_max) y = b.float_node(DequantizeAttributes{}, {y});
  b.output(y);
  Sizes shape{1};
  shape.insert(shape.end(), rest.begin(), rest.end());
  Tensor t{TensorType::float32, shape, {}};
  t.bytes.resize(static_cast<size_t>(t.numel()) * 4);
  for (int64_t i = 0; i < t.numel(); ++i) {
    t.data<float>()[i] = static_cast<float>(i + 1 - zero_point);  // code i + 1
  }
  const Tensor out = make_reference_executor(b.model)->run({t})[0];
  EXPECT_EQ(out.bytes, make_fast_executor(b.model)->run({t})[0].bytes);
  return elements<float>(out);
}

TEST(MaxPool, TwoByTwo) {
  EXPECT_EQ(pooled(MaxPoolAttributes{{2, 2}, {2, 2}, {0, 0}, {1, 1}, false}, {4, 4}, {2, 2}),
            (std::vector<float>{6, 8, 14, 16}));
}

TEST(MaxPool, PaddingNeverWins) {  // centred codes are all negative
  EXPECT_EQ(pooled(MaxPoolAttributes{{3, 3}, {2, 2}, {1, 1}, {1, 1}, false}, {3, 3}, {2, 2}, 100),
            (std::vector<float>{-95, -94, -92, -91}));
}

TEST(MaxPool, Dilation) {  // windows of {0, 2} with padding 1: {1}, {0, 2}, {1, 3}, {2}
  EXPECT_EQ(pooled(MaxPoolAttributes{{2}, {1}, {1}, {2}, false}, {4}, {4}),
            (std::vector<float>{2, 3, 4, 3}));
}

TEST(MaxPool, CeilModeDropsAWindowThatStartsInThePadding) {
  // 5 wide, kernel 2, stride 2: floor gives 2 windows, ceil 3. With padding 1 the fourth window
  // would start at 5, in the padding: 3 are left.
  EXPECT_EQ(pooled(MaxPoolAttributes{{2}, {2}, {0}, {1}, false}, {5}, {2}),
            (std::vector<float>{2, 4}));
  EXPECT_EQ(pooled(MaxPoolAttributes{{2}, {2}, {0}, {1}, true}, {5}, {3}),
            (std::vector<float>{2, 4, 5}));
  EXPECT_EQ(pooled(MaxPoolAttributes{{2}, {2}, {1}, {1}, true}, {5}, {3}),
            (std::vector<float>{1, 3, 5}));
}

TEST(MaxPool, ThreeAxes) {
  EXPECT_EQ(pooled(MaxPoolAttributes{{2, 2, 2}, {2, 2, 2}, {0, 0, 0}, {1, 1, 1}, false}, {2, 2, 4},
                   {1, 1, 2}),
            (std::vector<float>{14, 16}));
}

TEST(AvgPool, Divisors) {
  // 1 2 3 4, kernel 3, stride 2, padding 1: windows {pad 1 2}, {2 3 4}.
  AvgPoolAttributes a{{3}, {2}, {1}, false, true, 0};
  EXPECT_EQ(pooled(a, {4}, {2}), (std::vector<float>{3 * (1.0f / 3), 9 * (1.0f / 3)}));
  a.count_include_pad = false;
  EXPECT_EQ(pooled(a, {4}, {2}), (std::vector<float>{1.5f, 9 * (1.0f / 3)}));
  a.divisor_override = 4;
  EXPECT_EQ(pooled(a, {4}, {2}), (std::vector<float>{0.75f, 2.25f}));
}

TEST(AvgPool, CeilModeCountsOnlyUpToThePadding) {
  // 1 .. 5, kernel 2, stride 2, ceil: the last window is {5} and what lies beyond the padding
  // does not count, even with count_include_pad.
  EXPECT_EQ(pooled(AvgPoolAttributes{{2}, {2}, {0}, true, true, 0}, {5}, {3}),
            (std::vector<float>{1.5f, 3.5f, 5.0f}));
}

TEST(AvgPool, PaddingIsCentredZero) {
  // 2-d, zero point 2: codes 1 2 / 3 4 are -1 0 / 1 2; each 3x3 window with padding 1 holds all.
  AvgPoolAttributes a{{3, 3}, {1, 1}, {1, 1}, false, true, 0};
  const float mean = 2 * (1.0f / 9);
  EXPECT_EQ(pooled(a, {2, 2}, {2, 2}, 2), (std::vector<float>{mean, mean, mean, mean}));
}

TEST(AdaptiveAvgPool, UnevenWindows) {  // 5 -> 3: [0, 2), [1, 4), [3, 5)
  EXPECT_EQ(pooled(AdaptiveAvgPoolAttributes{{3}}, {5}, {3}),
            (std::vector<float>{1.5f, 9 * (1.0f / 3), 4.5f}));
}

TEST(AdaptiveAvgPool, ToOnePosition) {
  EXPECT_EQ(pooled(AdaptiveAvgPoolAttributes{{1, 1}}, {2, 3}, {1, 1}, 1),
            (std::vector<float>{15 * (1.0f / 6)}));
}

TEST(Mean, AxesAndKeepdim) {
  Builder b;
  const int64_t x = b.codes_input(batched({2, 3}), {0.5f, 1});
  b.output(b.float_node(MeanAttributes{{2}, false}, {x}, batched({2})));
  b.output(b.float_node(MeanAttributes{{1}, true}, {x}, batched({1, 3})));
  // Centred codes 0 .. 5.
  const auto out =
      make_reference_executor(b.model)->run({floats({1, 2, 3}, {0, 0.5f, 1, 1.5f, 2, 2.5f})});
  EXPECT_EQ(elements<float>(out[0]), (std::vector<float>{3 * (0.5f / 3), 12 * (0.5f / 3)}));
  EXPECT_EQ(out[0].shape, (Sizes{1, 2}));
  EXPECT_EQ(elements<float>(out[1]), (std::vector<float>{0.75f, 1.25f, 1.75f}));
  EXPECT_EQ(out[1].shape, (Sizes{1, 1, 3}));
}

TEST(Pool, WindowLargerThanTheInput) {
  const MaxPoolAttributes a{{5}, {1}, {0}, {1}, false};
  EXPECT_EQ(error_of([&] { pooled(a, {3}, {1}); }),
            "node 'n1' (max_pool): its window is larger than the padded input");
}

}  // namespace
}  // namespace qat::runtime::testing
