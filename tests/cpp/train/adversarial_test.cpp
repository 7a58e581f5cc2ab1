#include "train/adversarial.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include "train/loss.h"

namespace qat::train {
namespace {

constexpr double kEpsilon = 0.1;

class AdversarialTest : public testing::Test {
 protected:
  AdversarialTest() {
    torch::manual_seed(5);
    data.train.inputs = torch::randint(0, 256, {64, 2, 4, 4}, torch::kByte);
    data.train.inputs[0][0][0][0] = 0;
    data.train.inputs[0][0][0][1] = 255;
    data.train.targets = torch::randint(0, 3, {64}, torch::kLong);
    data.shape = {2, 4, 4};
    data.classes = 3;
    data.mean = {0.4, 0.6};
    data.std = {0.25, 0.5};
    net = torch::nn::Sequential(torch::nn::Flatten(), torch::nn::Linear(32, 16), torch::nn::ReLU(),
                                torch::nn::Linear(16, 3));
    forward = [this](const at::Tensor& x) { return net->forward(x); };
    batch = TensorBatches(data.train, data, {.batch = 64}).batch(0, 0);
  }

  at::Tensor attack(const AttackSpec& spec, int64_t index = 0) const {
    return Attack{spec, input_bounds(data), 7}(forward, batch, 0, index);
  }

  double loss(const at::Tensor& inputs) {
    const at::NoGradGuard no_grad;
    return classification_loss(net->forward(inputs), batch.targets, 0.0).item<double>();
  }

  // The inputs as they were before normalisation, 0 to 1.
  at::Tensor raw(const at::Tensor& inputs) const {
    const at::Tensor std = torch::tensor({0.25, 0.5}, at::kDouble).view({1, 2, 1, 1});
    const at::Tensor mean = torch::tensor({0.4, 0.6}, at::kDouble).view({1, 2, 1, 1});
    return inputs.to(at::kDouble) * std + mean;
  }

  DataSet data;
  torch::nn::Sequential net{nullptr};
  Forward forward;
  Batch batch;
};

// Normalised values are below 4 in size: a few roundings of 2^-22 each, times std.
constexpr double kRounding = 4e-7;

TEST_F(AdversarialTest, StaysWithinEpsilonAndWithinTheData) {
  for (const AttackSpec& spec : {AttackSpec::fgsm(kEpsilon), AttackSpec::pgd(kEpsilon, 7)}) {
    const at::Tensor moved = raw(attack(spec));
    EXPECT_LE((moved - raw(batch.inputs)).abs().max().item<double>(), kEpsilon + kRounding);
    EXPECT_GE(moved.min().item<double>(), -kRounding);
    EXPECT_LE(moved.max().item<double>(), 1 + kRounding);
  }
}

TEST_F(AdversarialTest, CleanBytesLieWithinTheBounds) {
  const InputBounds bounds = input_bounds(data);
  EXPECT_TRUE(batch.inputs.ge(bounds.low).all().item<bool>());
  EXPECT_TRUE(batch.inputs.le(bounds.high).all().item<bool>());
}

TEST_F(AdversarialTest, FloatDataAreBoundedByWhatIsThere) {
  data.train.inputs = torch::randn({64, 2, 4, 4});
  const InputBounds bounds = input_bounds(data);
  const at::Tensor seen = TensorBatches(data.train, data, {.batch = 64}).batch(0, 0).inputs;
  for (int64_t c = 0; c < 2; ++c) {
    EXPECT_EQ(bounds.low.select(1, c).item<float>(), seen.select(1, c).min().item<float>());
    EXPECT_EQ(bounds.high.select(1, c).item<float>(), seen.select(1, c).max().item<float>());
  }
}

TEST_F(AdversarialTest, FgsmMovesEachValueByEpsilonAlongTheGradient) {
  const at::Tensor x = batch.inputs.clone().requires_grad_();
  classification_loss(net->forward(x), batch.targets, 0.0).backward();
  const at::Tensor wanted = (raw(batch.inputs) + kEpsilon * x.grad().sign()).clamp(0, 1);
  const at::Tensor got = raw(attack(AttackSpec::fgsm(kEpsilon)));
  EXPECT_LE((got - wanted).abs().max().item<double>(), kRounding);
}

TEST_F(AdversarialTest, EachRaisesTheLossAndPgdTheMost) {
  const double clean = loss(batch.inputs), fgsm = loss(attack(AttackSpec::fgsm(kEpsilon)));
  const double pgd = loss(attack(AttackSpec::pgd(kEpsilon, 20)));
  EXPECT_GT(fgsm, clean);
  EXPECT_GE(pgd, fgsm);
}

TEST_F(AdversarialTest, IsAFunctionOfSeedEpochAndBatch) {
  const AttackSpec spec = AttackSpec::pgd(kEpsilon, 1);
  const at::Tensor once = attack(spec);
  torch::rand({100});  // the global generator has no part in it
  EXPECT_TRUE(attack(spec).equal(once));
  EXPECT_FALSE(attack(spec, 1).equal(once));
}

TEST_F(AdversarialTest, LeavesTheGradientsOfTheParametersAlone) {
  attack(AttackSpec::pgd(kEpsilon, 2));
  for (const at::Tensor& parameter : net->parameters()) EXPECT_FALSE(parameter.grad().defined());
}

TEST_F(AdversarialTest, AttackedBatchesKeepTheTargets) {
  TensorBatches clean(data.train, data, {.batch = 64});
  AttackedBatches attacked(clean, forward, {AttackSpec::fgsm(kEpsilon), input_bounds(data), 7});
  EXPECT_EQ(attacked.batches(), 1);
  const at::NoGradGuard no_grad;
  const Batch got = attacked.batch(0, 0);
  EXPECT_TRUE(got.targets.equal(batch.targets));
  EXPECT_TRUE(got.inputs.equal(attack(AttackSpec::fgsm(kEpsilon))));
}

}  // namespace
}  // namespace qat::train
