#include "train/evaluate.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "error.h"

namespace qat::train {
namespace {

class Rows : public BatchSource {
 public:
  int64_t batches() const override { return 2; }
  Batch batch(int64_t, int64_t index) override {
    const std::vector<int64_t> predicted =
        index == 0 ? std::vector<int64_t>{0, 1, 1} : std::vector<int64_t>{0};
    const std::vector<int64_t> truth =
        index == 0 ? std::vector<int64_t>{0, 1, 0} : std::vector<int64_t>{0};
    return {at::eye(3).index_select(0, at::tensor(predicted)), at::tensor(truth)};
  }
};

TEST(Evaluate, CountsByClass) {
  Rows rows;
  const Evaluation result = evaluate([](const at::Tensor& x) { return x; }, rows, 3);
  EXPECT_EQ(result.samples(), 4);
  EXPECT_EQ(result.accuracy(), 0.75);
  const auto classes = result.per_class();
  EXPECT_EQ(classes[0].precision, 1.0);
  EXPECT_EQ(classes[0].recall, 2.0 / 3.0);
  EXPECT_EQ(classes[0].f1, 0.8);
  EXPECT_EQ(classes[1].precision, 0.5);
  EXPECT_EQ(classes[2].f1, 0.0);
  EXPECT_EQ(classes[0].samples, 3);
}

TEST(Evaluate, NamesLogitsOfAnotherShape) {
  Rows rows;
  EXPECT_THROW(
      try { evaluate([](const at::Tensor& x) { return x; }, rows, 4); } catch (const Error& error) {
        EXPECT_STREQ(error.what(), "model: expected logits [B, 4], got rank 2 with last size 3");
        throw;
      },
      Error);
}

}  // namespace
}  // namespace qat::train
