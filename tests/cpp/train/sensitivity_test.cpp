#include "train/sensitivity.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include "error.h"
#include "train/bit_search.h"

namespace qat::train {
namespace {

Sensitivities table_of(const std::vector<std::vector<double>>& values,
                       const std::vector<int64_t>& sizes) {
  Sensitivities table;
  table.bits = {2, 4, 8};
  for (size_t i = 0; i < values.size(); ++i) {
    BitGroup group;
    group.sites = {"site" + std::to_string(i)};
    group.weights = {{"w", {}, {{sizes[i]}, 0, 1}}};
    group.macs = 10 * sizes[i];
    table.groups.push_back({group, values[i], {}});
  }
  return table;
}

// By hand, with the scale absmax / quant_max of each channel: at 2 bits the codes are -2..1 and
// 1 of (1, 0.25, -0.5) stays, 0.25 goes to 0, and -0.5 is a tie that goes to the even 0. At 8 bits
// (narrow) the steps are 1/127: 31.75 goes to 32, -63.5 to the even -64.
TEST(SensitivityTest, QuantizationErrorByHand) {
  const at::Tensor weight = torch::tensor({{1.0F, 0.25F, -0.5F}});
  WeightRecipe recipe;
  recipe.bits = 2;
  const WeightShape shape{{1, 3}, 0, 1};
  EXPECT_EQ(quantization_error(weight, recipe, shape), 0.0625 + 0.25);
  recipe.bits = 8;
  const double expected = std::pow(0.25 / 127, 2) + std::pow(0.5 / 127, 2);
  // Each rounded value is off by at most half an ulp of 0.5, 3e-8, on differences of about 2e-3
  // and 4e-3: relative 2 * 3e-8 / 2e-3 = 3e-5.
  EXPECT_NEAR(quantization_error(weight, recipe, shape), expected, 3e-5 * expected);
}

TEST(SensitivityTest, FixedGroupsKeepEightBits) {
  const Sensitivities table = table_of({{}, {3.0, 1.0, 0.0}, {0.5, 0.25, 0.0}}, {8, 16, 32});
  EXPECT_EQ(uniform_bits(table, 2), (std::vector<int>{8, 2, 2}));
  EXPECT_EQ(cost_of(table, {8, 2, 4}, Measure::bytes), 8 + 4 + 16);
  EXPECT_EQ(cost_of(table, {8, 2, 4}, Measure::bit_operations),
            80 * 64 + 160 * 2 * 8 + 320 * 4 * 8);
  EXPECT_EQ(predicted_increase(table, {8, 2, 4}), 3.25);
  EXPECT_EQ(find_bits(table, Measure::bytes, 8 + 16 + 8), (std::vector<int>{8, 8, 2}));
  EXPECT_EQ(find_bits(table, Measure::bytes, 8 + 16 + 7), (std::vector<int>{8, 4, 2}));
  EXPECT_EQ(find_bits(table, Measure::bytes, 56), (std::vector<int>{8, 8, 8}));
}

TEST(SensitivityTest, TheHessianPredictsHalf) {
  Sensitivities table = table_of({{3.0, 1.0, 0.0}}, {8});
  table.method = SensitivityMethod::hessian;
  EXPECT_EQ(predicted_increase(table, {2}), 1.5);
}

}  // namespace
}  // namespace qat::train
