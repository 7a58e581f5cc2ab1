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

Row softmax(const Row& logits) {
  double sum = 0;
  Row out;
  for (const double value : logits) sum += std::exp(value);
  for (const double value : logits) out.push_back(std::exp(value) / sum);
  return out;
}

class LossTest : public testing::Test {
 protected:
  LossTest() {
    at::manual_seed(3);
    student = at::randn({kRows, kClasses}) * 2;
    targets = at::tensor(std::vector<int64_t>{0, 3, 1, 2, 2});
  }
  at::Tensor student, targets;
};

// float32 sums of some twenty terms below 10 each: 20 * 10 * 6e-8, a hundredth of which would show
// a wrong factor.
constexpr double kRounding = 1.2e-5;

TEST_F(LossTest, ClassificationIsSmoothedCrossEntropy) {
  for (const double smoothing : {0.0, 0.2}) {
    double expected = 0;
    for (int64_t i = 0; i < kRows; ++i) {
      const Row p = softmax(row(student, i));
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

}  // namespace
}  // namespace qat::train
