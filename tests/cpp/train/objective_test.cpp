#include "train/objective.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include "train/loss.h"

namespace qat::train {
namespace {

// Rows go into a batch norm, so that both the mode and the batch show in the result.
class ObjectiveTest : public testing::Test {
 protected:
  ObjectiveTest() {
    torch::manual_seed(2);
    net = torch::nn::Sequential(torch::nn::Linear(6, 8), torch::nn::BatchNorm1d(8),
                                torch::nn::ReLU(), torch::nn::Linear(8, 3));
    net->train();
    batch = {torch::rand({16, 6}), torch::randint(0, 3, {16}, torch::kLong)};
    parts.forward = [this](const at::Tensor& x) {
      sizes.emplace_back(x.size(0), net->is_training());
      return ModelOutputs{net->forward(x), {}};
    };
    parts.set_training = [this](bool on) { net->train(on); };
    parts.parameters = net->parameters();
  }

  void attack_with(const AttackSpec& spec, double weight) {
    parts.attack = Attack{spec, {torch::zeros({1}), torch::ones({1}), torch::ones({1})}, 1};
    parts.attack_weight = weight;
  }

  at::Tensor running_mean() { return net->named_buffers()["1.running_mean"].clone(); }

  torch::nn::Sequential net{nullptr};
  Batch batch;
  ObjectiveParts parts;
  std::vector<std::pair<int64_t, bool>> sizes;  // of each forward: rows, training
};

using Calls = std::vector<std::pair<int64_t, bool>>;

TEST_F(ObjectiveTest, AloneIsCrossEntropy) {
  const StepLoss got = make_objective(parts)(batch, 0, 0);
  const at::Tensor loss = classification_loss(got.logits, batch.targets, 0.0);
  EXPECT_TRUE(got.loss.detach().equal(loss));
  EXPECT_TRUE(got.loss.requires_grad());
  EXPECT_EQ(sizes, (Calls{{16, true}}));
}

TEST_F(ObjectiveTest, APenaltyIsAddedOnceBehindTheTrainingForward) {
  net->eval();
  const double plain = make_objective(parts)(batch, 0, 0).loss.item<double>();
  attack_with(AttackSpec::pgd(1e-9, 2), 1.0);  // below the rounding of every input
  parts.set_training = [](bool) {};
  sizes.clear();
  std::vector<size_t> forwards;
  parts.penalty = [&] {
    forwards.push_back(sizes.size());
    return torch::full({}, 0.5);
  };
  // One float32 addition of numbers below 4.
  EXPECT_NEAR(make_objective(parts)(batch, 0, 0).loss.item<double>(), plain + 0.5, 0x1p-22);
  EXPECT_EQ(forwards, std::vector<size_t>{3});
}

TEST_F(ObjectiveTest, TheSearchRunsInEvalAndOnlyTheAttackedBatchIsTrainedOn) {
  attack_with(AttackSpec::pgd(0.2, 3), 1.0);
  make_objective(parts)(batch, 0, 0);
  EXPECT_EQ(sizes, (Calls{{16, false}, {16, false}, {16, false}, {16, true}}));
  EXPECT_TRUE(net->is_training());
  for (const at::Tensor& parameter : net->parameters()) {
    EXPECT_TRUE(parameter.requires_grad());
    EXPECT_FALSE(parameter.grad().defined());
  }
}

TEST_F(ObjectiveTest, ASharedStepRunsOneForwardOnBothHalves) {
  attack_with(AttackSpec::fgsm(0.2), 0.25);
  const StepLoss got = make_objective(parts)(batch, 0, 0);
  EXPECT_EQ(sizes, (Calls{{16, false}, {32, true}}));
  EXPECT_EQ(got.logits.size(0), 16);
  EXPECT_EQ(net->named_buffers()["1.num_batches_tracked"].item<int64_t>(), 1);
  // The loss is linear in the share: one at 1/4 and one at 3/4 sum to both halves' losses.
  attack_with(AttackSpec::fgsm(0.2), 0.75);
  net->eval();
  parts.set_training = [](bool) {};
  const double most = make_objective(parts)(batch, 0, 0).loss.item<double>();
  attack_with(AttackSpec::fgsm(0.2), 0.25);
  const double least = make_objective(parts)(batch, 0, 0).loss.item<double>();
  const at::Tensor moved =
      (*parts.attack)([this](const at::Tensor& x) { return net->forward(x); }, batch, 0, 0);
  const at::NoGradGuard no_grad;
  const double clean =
      classification_loss(net->forward(batch.inputs), batch.targets, 0).item<double>();
  const double attacked = classification_loss(net->forward(moved), batch.targets, 0).item<double>();
  // float32 sums of values of about 1.
  EXPECT_NEAR(most, 0.25 * clean + 0.75 * attacked, 1e-6);
  EXPECT_NEAR(least, 0.75 * clean + 0.25 * attacked, 1e-6);
}

}  // namespace
}  // namespace qat::train
