#include "objectives/distillation.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "error.h"
#include "softmax_rows.h"

namespace qat {
namespace {

constexpr int64_t kRows = 5, kClasses = 4;

using qat::testing::Row;
using qat::testing::row;
using qat::testing::softmax;

class DistillationTest : public ::testing::Test {
 protected:
  DistillationTest() {
    at::manual_seed(3);
    student = at::randn({kRows, kClasses}) * 2;
    teacher = at::randn({kRows, kClasses}) * 2;
    targets = at::tensor(std::vector<int64_t>{0, 3, 1, 2, 2});
  }
  at::Tensor student, teacher, targets;
};

// float32 sums of some twenty terms below 10 each: 20 * 10 * 6e-8, a hundredth of which would show
// a wrong factor.
constexpr double kRounding = 1.2e-5;

TEST_F(DistillationTest, SoftTargetsAreTheDivergenceTimesTheSquaredTemperature) {
  for (const double temperature : {1.0, 4.0}) {
    double expected = 0;
    for (int64_t i = 0; i < kRows; ++i) {
      const Row p = softmax(row(teacher, i), temperature),
                q = softmax(row(student, i), temperature);
      for (size_t k = 0; k < p.size(); ++k) {
        expected += temperature * temperature * p[k] * std::log(p[k] / q[k]) / kRows;
      }
    }
    EXPECT_NEAR(
        distillation_loss(student, teacher, targets, {.temperature = temperature, .weight = 1})
            .item<double>(),
        expected, temperature * temperature * kRounding);
  }
}

TEST_F(DistillationTest, SoftTargetsArePulledTowardsTheTeacher) {
  // d/ds T^2 KL = T (softmax(s / T) - softmax(t / T)) / B.
  const double temperature = 4;
  student.requires_grad_();
  distillation_loss(student, teacher, targets, {.temperature = temperature, .weight = 1})
      .backward();
  for (int64_t i = 0; i < kRows; ++i) {
    const Row p = softmax(row(teacher, i), temperature);
    const Row q = softmax(row(student.detach(), i), temperature);
    for (int64_t k = 0; k < kClasses; ++k) {
      const auto at = static_cast<size_t>(k);
      EXPECT_NEAR(student.grad()[i][k].item<double>(), temperature * (q[at] - p[at]) / kRows,
                  kRounding);
    }
  }
}

TEST_F(DistillationTest, TheRestIsSmoothedCrossEntropy) {
  const at::Tensor hard =
      at::cross_entropy_loss(student, targets, {}, at::Reduction::Mean, -100, 0.2);
  const auto loss = [&](double weight) {
    return distillation_loss(student, teacher, targets, {2.0, weight, 0.2}).item<double>();
  };
  EXPECT_EQ(loss(0), hard.item<double>());
  EXPECT_NEAR(loss(0.25), 0.75 * loss(0) + 0.25 * loss(1), 4 * kRounding);
}

TEST_F(DistillationTest, NoGradientReachesTheTeacher) {
  student.requires_grad_();
  teacher.requires_grad_();
  (distillation_loss(student, teacher, targets) + feature_loss(student, teacher)).backward();
  EXPECT_TRUE(student.grad().defined());
  EXPECT_FALSE(teacher.grad().defined());
}

TEST_F(DistillationTest, WrongArgumentsAreNamed) {
  const auto message = [](const auto& call) -> std::string {
    try {
      call();
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_EQ(message([&] { distillation_loss(student, teacher, targets, {.temperature = 0}); }),
            "distillation_loss: temperature: expected above 0, got 0");
  EXPECT_EQ(message([&] { distillation_loss(student, teacher, targets, {.weight = 1.5}); }),
            "distillation_loss: weight: expected 0 to 1, got 1.5");
  EXPECT_EQ(message([&] { distillation_loss(student, teacher.narrow(1, 0, 2), targets); }),
            "distillation_loss: teacher_logits: expected the shape of student_logits, [B, K], got "
            "[5, 2] beside [5, 4]");
  EXPECT_EQ(message([&] { distillation_loss(student, teacher, targets.narrow(0, 0, 3)); }),
            "distillation_loss: targets: expected int64[5], got Long of shape [3]");
  EXPECT_EQ(message([&] { feature_loss(student, teacher[0]); }),
            "feature_loss: teacher: expected the student's shape [5, 4], got [4]");
}

TEST_F(DistillationTest, FeaturesAreMeasuredByTheTeachersMeanSquare) {
  double error = 0, power = 0;
  for (int64_t i = 0; i < kRows; ++i) {
    const Row s = row(student, i), t = row(teacher, i);
    for (size_t k = 0; k < s.size(); ++k) {
      error += (s[k] - t[k]) * (s[k] - t[k]);
      power += t[k] * t[k];
    }
  }
  EXPECT_NEAR(feature_loss(student, teacher).item<double>(), error / power, kRounding);
  EXPECT_EQ(feature_loss(at::zeros_like(teacher), teacher).item<double>(), 1.0);
  EXPECT_TRUE(std::isfinite(feature_loss(student, at::zeros_like(teacher)).item<double>()));
}

}  // namespace
}  // namespace qat
