#include "train/loss.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "softmax_rows.h"

namespace qat::train {
namespace {

constexpr int64_t kRows = 5, kClasses = 4;

using qat::testing::Row;
using qat::testing::row;
using qat::testing::softmax;

class LossTest : public ::testing::Test {
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
