#include "train/schedule.h"

#include <gtest/gtest.h>

namespace qat::train {
namespace {

using Kind = ScheduleSpec::Kind;

// The curves are sums of a few doubles below 1: 4 roundings of 1.1e-16 each.
constexpr double kRounding = 5e-16;

TEST(RateFactor, Constant) { EXPECT_EQ(rate_factor({.kind = Kind::constant}, 7, 10, 5), 1.0); }

TEST(RateFactor, StepCutsEveryNEpochs) {
  const ScheduleSpec spec{.kind = Kind::step, .every = 2, .gamma = 0.5};
  EXPECT_EQ(rate_factor(spec, 9, 30, 5), 1.0);
  EXPECT_EQ(rate_factor(spec, 10, 30, 5), 0.5);
  EXPECT_EQ(rate_factor(spec, 29, 30, 5), 0.25);
}

TEST(RateFactor, OneCycleRisesAndFallsOnCosines) {
  const ScheduleSpec spec{.kind = Kind::one_cycle, .warmup = 0.25, .start = 0.2, .end = 0.1};
  EXPECT_NEAR(rate_factor(spec, 0, 80, 10), 0.2, kRounding);
  EXPECT_NEAR(rate_factor(spec, 10, 80, 10), 0.6, kRounding);
  EXPECT_NEAR(rate_factor(spec, 20, 80, 10), 1.0, kRounding);
  EXPECT_NEAR(rate_factor(spec, 50, 80, 10), 0.55, kRounding);
}

TEST(RateFactor, CosineWarmsUpLinearly) {
  const ScheduleSpec spec{.kind = Kind::cosine, .warmup = 0.5, .start = 0.5, .end = 0.0};
  EXPECT_NEAR(rate_factor(spec, 5, 20, 10), 0.75, kRounding);
  EXPECT_NEAR(rate_factor(spec, 15, 20, 10), 0.5, kRounding);
}

TEST(RateFactor, CosineWithoutWarmupStartsAtOne) {
  EXPECT_EQ(rate_factor({.kind = Kind::cosine, .warmup = 0.0}, 0, 20, 10), 1.0);
}

}  // namespace
}  // namespace qat::train
