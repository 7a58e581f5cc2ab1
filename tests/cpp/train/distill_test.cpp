#include "train/distill.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <filesystem>

#include "objectives/distillation.h"
#include "train/loss.h"
#include "train/objective.h"
#include "train/quantization_step.h"

namespace qat::train {
namespace {

// A job on random rows, whose float model is written to a file and then trained away from it.
class DistillTest : public testing::Test {
 protected:
  DistillTest() {
    torch::manual_seed(6);
    session.job = parse_job(
        "model: {name: mlp, hidden: [16, 8]}\ndata: {name: fashion_mnist}\n"
        "distill: {temperature: 3, weight: 0.6, features: [{site: layers.relu, weight: 2}]}\n",
        "job.yaml");
    session.data.train = {torch::rand({32, 5}), torch::randint(0, 3, {32}, torch::kLong)};
    session.data.shape = {5};
    session.data.classes = 3;
    session.data.mean = std::vector<double>(5, 0.5);
    session.data.std = std::vector<double>(5, 0.25);
    session.network = make_network(session.job.model, session.data.shape, 3);
    path = std::filesystem::path(testing::TempDir()) / "distill_test.safetensors";
    save_tensors(path, tensors_of(*session.network), {});
    inputs = TensorBatches(session.data.train, session.data, {.batch = 32}).batch(0, 0).inputs;
    session.network->eval();
    wanted = session.network->forward(inputs).detach();
    const at::NoGradGuard no_grad;
    for (at::Tensor& parameter : session.network->parameters()) parameter.mul_(0.5);
  }

  Session session;
  std::string path;
  at::Tensor inputs, wanted;
};

TEST_F(DistillTest, TheTeacherIsTheFileAndLeavesTheRandomStateAlone) {
  torch::manual_seed(1);
  const at::Tensor expected = torch::rand({4});
  torch::manual_seed(1);
  const Teacher teacher(session, path);
  EXPECT_TRUE(torch::rand({4}).equal(expected));
  const ModelOutputs got = teacher.forward(inputs);
  EXPECT_TRUE(got.logits.equal(wanted));
  EXPECT_FALSE(got.logits.requires_grad());
  ASSERT_EQ(got.features.size(), 1u);
  EXPECT_EQ(got.features[0].sizes(), (at::IntArrayRef{32, 16}));
}

TEST_F(DistillTest, TheCheckLeavesTheNetworkAsItWas) {
  session.network->train();
  torch::manual_seed(1);
  const at::Tensor expected = torch::rand({4});
  torch::manual_seed(1);
  check_distillation(session);
  EXPECT_TRUE(torch::rand({4}).equal(expected));
  EXPECT_TRUE(session.network->is_training());
}

TEST_F(DistillTest, TheLossIsTheSumOfItsParts) {
  const auto prepared = prepare_session(session);
  session.network->train();
  prepared->forward(inputs);  // the first ranges
  session.network->eval();
  ObjectiveParts parts;
  parts.distill = session.job.distill;
  parts.teacher = std::make_shared<Teacher>(session, path);
  parts.forward = [&](const at::Tensor& x) {
    const TappedOutputs all = prepared->forward_with_taps({x}, {"layers.relu"});
    return ModelOutputs{all.outputs[0], all.taps};
  };
  const Batch batch{inputs, session.data.train.targets};
  const StepLoss got = make_objective(parts)(batch, 0, 0);
  const ModelOutputs student = parts.forward(inputs), teacher = parts.teacher->forward(inputs);
  const double hard = classification_loss(student.logits, batch.targets, 0).item<double>();
  const at::Tensor divergence =
      distillation_loss(student.logits, teacher.logits, batch.targets, {3.0, 1.0, 0.0});
  const double soft = divergence.item<double>();
  const double feature = feature_loss(student.features[0], teacher.features[0]).item<double>();
  EXPECT_GT(soft, 0);
  EXPECT_GT(feature, 0);
  // Three float32 sums of values below 10.
  EXPECT_NEAR(got.loss.item<double>(), 0.4 * hard + 0.6 * soft + 2 * feature, 3 * 10 * 6e-8);
  got.loss.backward();
  EXPECT_TRUE(session.network->parameters()[0].grad().defined());
}

}  // namespace
}  // namespace qat::train
