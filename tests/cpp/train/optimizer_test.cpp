#include "train/optimizer.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

namespace qat::train {
namespace {

at::Tensor parameter(at::IntArrayRef shape, float value) {
  return at::full(shape, value).set_requires_grad(true);
}

void give_gradients(const NamedTensors& parameters, float value) {
  for (const auto& [name, tensor] : parameters) {
    tensor.mutable_grad() = at::full_like(tensor, value).detach();
  }
}

TEST(Optimizer, NoWeightDecayOnBiasesAndNorms) {
  const NamedTensors parameters = {{"weight", parameter({2, 2}, 1)}, {"bias", parameter({2}, 1)}};
  OptimizerSpec spec;
  spec.momentum = 0;
  spec.nesterov = false;
  spec.weight_decay = 0.5;
  Optimizer optimizer(spec, parameters);
  give_gradients(parameters, 0);
  optimizer.set_rate(0.5);
  optimizer.step();
  EXPECT_TRUE(parameters[0].second.eq(0.75).all().item<bool>());
  EXPECT_TRUE(parameters[1].second.eq(1).all().item<bool>());
}

TEST(Optimizer, ClipsTheNormOfAllGradients) {
  const NamedTensors parameters = {{"a", parameter({3}, 0)}, {"b", parameter({1}, 0)}};
  Optimizer optimizer({}, parameters);
  give_gradients(parameters, 2);
  EXPECT_EQ(optimizer.clip(0), 0);
  EXPECT_EQ(parameters[0].second.grad()[0].item<float>(), 2);
  EXPECT_EQ(optimizer.clip(1), 4);
  // torch scales by 1/(4 + 1e-6): 2.5e-7 below 0.5 relative, plus one rounding of 6e-8.
  EXPECT_NEAR(parameters[0].second.grad()[0].item<float>(), 0.5, 0.5 * 3.2e-7);
}

class Kinds : public testing::TestWithParam<OptimizerSpec::Kind> {};

TEST_P(Kinds, AReloadedOptimizerTakesTheSameSteps) {
  OptimizerSpec spec;
  spec.kind = GetParam();
  spec.weight_decay = 0.01;
  const NamedTensors first = {{"w", parameter({2, 2}, 1)}, {"b", parameter({2}, 1)}};
  Optimizer one(spec, first);
  EXPECT_TRUE(one.state().empty());
  for (const float gradient : {0.3f, -0.7f}) {
    give_gradients(first, gradient);
    one.step();
  }
  NamedTensors second;
  for (const auto& [name, tensor] : first) {
    second.emplace_back(name, tensor.detach().clone().set_requires_grad(true));
  }
  Optimizer two(spec, second);
  two.load(one.state());
  give_gradients(first, 0.9f);
  give_gradients(second, 0.9f);
  one.step();
  two.step();
  for (size_t i = 0; i < first.size(); ++i) {
    EXPECT_TRUE(at::equal(first[i].second, second[i].second));
  }
}

INSTANTIATE_TEST_SUITE_P(All, Kinds,
                         testing::Values(OptimizerSpec::Kind::sgd, OptimizerSpec::Kind::adam,
                                         OptimizerSpec::Kind::adamw));

}  // namespace
}  // namespace qat::train
