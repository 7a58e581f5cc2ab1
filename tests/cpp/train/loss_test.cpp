#include "train/loss.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace qat::train {
namespace {

constexpr int64_t kRows = 5, kClasses = 4;

using Row = std::vector<double>;

Row row(const at::Tensor& values, int64_t index) {
  Row out;
  for (int64_t k = 0; k < values.size(1); ++k) out.push_back(values[index][k].item<double>());
  return out;
}

Row softmax(const Row& logits, double temperature) {
  double sum = 0;
  Row out;
  for (const double value : logits) sum += std::exp(value / temperature);
  for (const double value : logits) out.push_back(std::exp(value / temperature) / sum);
  return out;
}

class LossTest : public testing::Test {
 protected:
  LossTest() {
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

TEST_F(LossTest, ClassificationIsSmoothedCrossEntropy) {
  for (const double smoothing : {0.0, 0.2}) {
    double expected = 0;
    for (int64_t i = 0; i < kRows; ++i) {
      const Row p = softmax(row(student, i), 1.0);
      for (int64_t k = 0; k < kClasses; ++k) {
        const bool target = targets[i].item<int64_t>() == k;
        const double wanted = (target ? 1 - smoothing : 0.0) + smoothing / kClasses;
        expected -= wanted * std::log(p[static_cast<size_t>(k)]) / kRows;
      }
    }
    EXPECT_NEAR(classification_loss(student, targets, smoothing).item<double>(), expected,
                kRounding);
  }
}

TEST_F(LossTest, SoftTargetsAreTheDivergenceTimesTheSquaredTemperature) {
  for (const double temperature : {1.0, 4.0}) {
    double expected = 0;
    for (int64_t i = 0; i < kRows; ++i) {
      const Row p = softmax(row(teacher, i), temperature),
                q = softmax(row(student, i), temperature);
      for (size_t k = 0; k < p.size(); ++k) {
        expected += temperature * temperature * p[k] * std::log(p[k] / q[k]) / kRows;
      }
    }
    EXPECT_NEAR(soft_target_loss(student, teacher, temperature).item<double>(), expected,
                temperature * temperature * kRounding);
  }
}

TEST_F(LossTest, SoftTargetsArePulledTowardsTheTeacher) {
  // d/ds T^2 KL = T (softmax(s / T) - softmax(t / T)) / B.
  const double temperature = 4;
  student.requires_grad_();
  soft_target_loss(student, teacher, temperature).backward();
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

TEST_F(LossTest, FeaturesAreMeasuredByTheTeachersMeanSquare) {
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
}  // namespace qat::train
