#include "objectives/attack.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <gtest/gtest.h>

#include <string>

#include "error.h"

namespace qat {
namespace {

AttackOptions options(double epsilon) {
  return {.epsilon = at::tensor(epsilon), .low = at::tensor(0.0), .high = at::tensor(1.0)};
}

class PgdTest : public testing::Test {
 protected:
  // Largest at `peak`, so that ascent has an end within the interval.
  at::Tensor climb(const AttackOptions& chosen) const {
    return pgd([this](const at::Tensor& x) { return -(x - peak).square().sum(); }, inputs, chosen);
  }

  at::Tensor inputs = at::tensor({0.5f, 0.5f, 0.05f, 0.95f});
  at::Tensor peak = at::tensor({0.9f, 0.1f, -1.0f, 2.0f});
};

TEST_F(PgdTest, OneStepWithoutARandomStartIsTheSignOfTheGradient) {
  AttackOptions fgsm = options(0.25);
  fgsm.step = fgsm.epsilon;
  fgsm.steps = 1;
  fgsm.random_start = false;
  EXPECT_TRUE(climb(fgsm).equal(at::tensor({0.75f, 0.25f, 0.0f, 1.0f})));
}

TEST_F(PgdTest, ReachesTheBordersFromAnywhere) {
  EXPECT_TRUE(climb(options(0.25)).equal(at::tensor({0.75f, 0.25f, 0.0f, 1.0f})));
}

TEST_F(PgdTest, InputsOutsideOfTheIntervalMoveInwardsOnly) {
  inputs = at::tensor({1.5f, -0.5f, 1.125f, -0.125f});
  peak = at::tensor({0.0f, -1.0f, 0.0f, 1.0f});
  EXPECT_TRUE(climb(options(0.25)).equal(at::tensor({1.25f, -0.5f, 0.875f, 0.125f})));
}

TEST_F(PgdTest, AGeneratorRepeatsTheStart) {
  const auto attacked = [&](uint64_t seed) {
    AttackOptions chosen = options(0.1);
    chosen.step = at::tensor(1e-6);
    chosen.steps = 1;
    chosen.generator = at::detail::createCPUGenerator(seed);
    return climb(chosen);
  };
  EXPECT_TRUE(attacked(3).equal(attacked(3)));
  EXPECT_FALSE(attacked(3).equal(attacked(4)));
}

TEST_F(PgdTest, WrongNumbersAreNamed) {
  const auto message = [&](const AttackOptions& chosen) -> std::string {
    try {
      climb(chosen);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_EQ(
      message({.epsilon = at::tensor(0.1), .low = at::tensor(0.0)}),
      "pgd: high: expected a tensor in the units of the inputs, got none; give every option of "
      "AttackOptions but step and generator");
  EXPECT_EQ(message(options(0)), "pgd: epsilon: expected above 0, got 0");
  AttackOptions chosen = options(0.1);
  chosen.steps = 0;
  EXPECT_EQ(message(chosen), "pgd: steps: expected 1 or more, got 0");
  chosen = options(0.1);
  chosen.step = at::tensor({0.5, -1.0});
  EXPECT_EQ(message(chosen), "pgd: step: expected above 0, got -1");
}

}  // namespace
}  // namespace qat
