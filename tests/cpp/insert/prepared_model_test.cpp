#include <qat.h>

#include <filesystem>
#include <set>

#include "graph/expect_error.h"
#include "insert/engine.h"
#include "insert/net.h"

namespace qat::testing {
namespace {

std::vector<std::string> names(const NamedTensors& tensors) {
  std::vector<std::string> all;
  for (const auto& [name, tensor] : tensors) all.push_back(name);
  return all;
}

class PreparedModelTest : public ::testing::Test {
 protected:
  PreparedModelTest() {
    torch::manual_seed(1);
    input = torch::randn({4, 3, 10, 10});
  }

  void train(PreparedModel& prepared, int steps = 2) {
    torch::optim::SGD optimizer(net->parameters(), torch::optim::SGDOptions(0.05));
    for (int i = 0; i < steps; ++i) {
      net->train();
      optimizer.zero_grad();
      prepared.forward(input).square().sum().backward();
      optimizer.step();
    }
  }

  Net net;
  at::Tensor input;
};

TEST_F(PreparedModelTest, TrainsFreezesConvertsAndVerifies) {
  const auto prepared = prepare(net, {input});
  const at::Tensor before = net->conv1->weight.clone();
  train(*prepared);
  for (const auto& item : net->named_parameters()) {
    ASSERT_TRUE(item.value().grad().defined()) << item.key();
    EXPECT_TRUE(item.value().grad().isfinite().all().item<bool>()) << item.key();
  }
  EXPECT_FALSE(net->conv1->weight.equal(before));
  EXPECT_EQ(net->bn1->num_batches_tracked.item<int64_t>(), 2);
  prepared->step(1.0);
  EXPECT_TRUE(prepared->batch_norm_frozen());
  EXPECT_TRUE(prepared->ranges_frozen());
  const at::Tensor frozen = prepared->forward(input).detach();
  net->eval();
  EXPECT_TRUE(prepared->forward(input).equal(frozen));
  const IntegerModel integer = convert(*prepared);
  const VerifyReport report = verify(*prepared, integer, {{input}, {torch::randn({3, 3, 10, 10})}});
  EXPECT_EQ(report.differing, 0) << report.first_difference;
  EXPECT_EQ(report.differing_parameters, 0) << report.first_difference;
  EXPECT_EQ(report.logits, 7 * 4);
  EXPECT_DOUBLE_EQ(integer.integer_fraction(), 1.0);
}

TEST_F(PreparedModelTest, ActivationsOfAnInPlaceModelArriveAsCodes) {
  const auto prepared = prepare(net, {input});
  train(*prepared, 1);
  std::set<std::string> sites;
  prepared->engine().probe = [&](const std::string& site, const insert::Codes& codes) {
    sites.insert(site);
    EXPECT_EQ(codes.codes.scalar_type(), at::kByte) << site;
  };
  net->eval();
  prepared->forward(input);
  prepared->engine().probe = nullptr;
  EXPECT_EQ(sites, (std::set<std::string>{"relu", "relu_1", "mean"}));
}

TEST_F(PreparedModelTest, PrepareRestoresBuffersModeAndRandomState) {
  net->eval();
  net->bn1->train();
  const at::Tensor mean = net->bn1->running_mean.clone();
  const at::Tensor random = at::detail::getDefaultCPUGenerator().get_state();
  prepare(net, {input});
  EXPECT_TRUE(net->bn1->running_mean.equal(mean));
  EXPECT_FALSE(net->is_training());
  EXPECT_TRUE(at::detail::getDefaultCPUGenerator().get_state().equal(random));
}

TEST_F(PreparedModelTest, StateNamesAreStableAndSharedWithTheEngine) {
  const auto first = prepare(net, {input}), second = prepare(net, {input});
  EXPECT_EQ(names(first->state()), names(second->state()));
  const auto before = names(first->state());
  train(*first);
  EXPECT_EQ(names(first->state()), before);
  for (const char* name : {"conv1.input.min", "conv1.input.max", "conv1.input.count", "relu.min",
                           "schedule.phase", "schedule.ranges_frozen"}) {
    EXPECT_EQ(std::count(before.begin(), before.end(), name), 1) << name;
  }
  at::NoGradGuard no_grad;
  const NamedTensors theirs = second->state(), ours = first->state();
  for (size_t i = 0; i < ours.size(); ++i) theirs[i].second.copy_(ours[i].second);
  net->eval();
  EXPECT_TRUE(first->forward(input).equal(second->forward(input)));
}

TEST_F(PreparedModelTest, RefusesWhatItCannotPrepare) {
  EXPECT_EQ(message_of([&] { prepare(net, {}); }),
            "prepare: no example inputs were given; give at least one.");
  EXPECT_EQ(message_of([&] {
              prepare(net, {torch::randn({0, 3, 10, 10})});
            }),
            "prepare: the example inputs have batch size 0; give at least 1.");
  torch::nn::Sequential nothing(torch::nn::ReLU{});
  EXPECT_NE(message_of([&] { prepare(nothing, {input}); }).find("holds no site to quantize"),
            std::string::npos);
}

TEST_F(PreparedModelTest, RefusesWhatItCannotRun) {
  const auto prepared = prepare(net, {input});
  EXPECT_EQ(message_of([&] { prepared->step(1.5); }),
            "step: fraction: expected a number from 0 to 1, got 1.500000");
  net->eval();
  EXPECT_EQ(message_of([&] { prepared->forward(input); }),
            "forward: the quantizer 'conv1.input' has seen no data; run calibrate(), or a training "
            "step, before eval().");
  net->train();
  EXPECT_EQ(message_of([&] {
              prepared->forward(torch::randn({2, 5, 10, 10}));
            }),
            "forward: 'conv1' (conv2d): conv_int: codes: expected 3 channels, as the weight has, "
            "got 5.");
  train(*prepared);
  net->eval();
  EXPECT_TRUE(prepared->forward(input).isfinite().all().item<bool>());
  EXPECT_EQ(message_of([&] { verify(*prepared, convert(*prepared), {}); }),
            "verify: no inputs were given; pass at least one batch.");
}

TEST_F(PreparedModelTest, ARefusedForwardDoesNoHarm) {
  const auto prepared = prepare(net, {input});
  train(*prepared);
  net->eval();
  const at::Tensor expected = prepared->forward(input);
  EXPECT_THROW(prepared->forward(torch::randn({2, 5, 10, 10})), Error);
  EXPECT_TRUE(prepared->forward(input).equal(expected));
}

}  // namespace
}  // namespace qat::testing
