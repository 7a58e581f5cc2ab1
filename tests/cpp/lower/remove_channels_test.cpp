// Channels that are zero go, and no output changes in any bit.

#include "lower/remove_channels.h"

#include <gtest/gtest.h>

#include <random>

#include "graph/models.h"
#include "graph/validate.h"
#include "runtime/executor.h"

namespace qat::lower {
namespace {

using namespace graph;
using testing::fixed;
using testing::kBatch;
using testing::ModelBuilder;

constexpr int64_t kMid = 6, kSize = 5;

// What stands between the two layers, and what reads the channels.
struct Between {
  bool pool = false, flatten = false, mean = false, residual = false, both_read = false;
  bool output = false;
  numerics::Activation activation{numerics::ActivationKind::relu};
};

class Net {
 public:
  explicit Net(Between between) : between_(between) {
    const Shape image{kBatch, fixed(3), fixed(kSize), fixed(kSize)};
    const int64_t x = b.floats("x", image);
    b.model.graph.inputs = {x};
    const int64_t q = b.codes("q", image, {0.1f, 117});
    b.node("in", QuantizeAttributes{}, {x}, {q});
    const Shape mid{kBatch, fixed(kMid), fixed(kSize), fixed(kSize)};
    const int64_t c = b.floats("c", mid);
    b.node("conv1", conv("conv1", {kMid, 3, 3, 3}, kMid, 1), {q}, {c});
    const int64_t r = b.floats("r", mid);
    b.node("act", ActivationAttributes{between.activation, ""}, {c}, {r});
    middle(r, mid);
    random_numbers();
    validate(b.model, "test");
  }

  // Output channels `zeros` of conv1 become zero.
  void clear(const std::vector<int64_t>& zeros, float bias = 0.0f) {
    Tensor& weight = b.model.tensors.at("conv1.weight");
    for (const int64_t channel : zeros) {
      std::fill_n(weight.data<int8_t>() + channel * 27, 27, int8_t{0});
      b.model.tensors.at("conv1.bias").data<float>()[channel] = bias;
    }
  }

  std::vector<int64_t> shape(const std::string& tensor) const {
    return b.model.tensors.at(tensor).shape;
  }

  ModelBuilder b;

 private:
  ConvAttributes conv(const std::string& name, std::vector<int64_t> shape, int64_t channels,
                      int64_t padding) {
    ConvAttributes a;
    a.weight = b.weight(name + ".weight", std::move(shape), numerics::kInt8Narrow);
    a.multiplier = b.channel(name + ".multiplier", channels);
    a.bias = b.channel(name + ".bias", channels);
    a.stride = {1, 1};
    a.padding = {padding, padding};
    a.dilation = {1, 1};
    a.output_padding = {0, 0};
    return a;
  }

  LinearAttributes linear(const std::string& name, int64_t in, int64_t out) {
    LinearAttributes a;
    a.weight = b.weight(name + ".weight", {out, in}, numerics::kInt8Narrow);
    a.multiplier = b.channel(name + ".multiplier", out);
    a.bias = b.channel(name + ".bias", out);
    return a;
  }

  void middle(int64_t real, const Shape& mid) {
    int64_t value = real;
    if (between_.residual) {
      const int64_t k = b.floats("k", {fixed(kMid), fixed(1), fixed(1)});
      b.node("constant", ConstantAttributes{b.tensor("k", TensorType::float32, {kMid, 1, 1})}, {},
             {k});
      value = b.floats("sum", mid);
      b.node("add", BinaryAttributes{Binary::add}, {real, k}, {value});
    }
    int64_t codes = b.codes("codes", mid, {0.25f, 9});
    b.node("quantize", QuantizeAttributes{}, {value}, {codes});
    if (between_.pool) {
      const int64_t pooled = b.same("pooled", codes, mid);
      b.node("pool", MaxPoolAttributes{{3, 3}, {1, 1}, {1, 1}, {1, 1}, false}, {codes}, {pooled});
      codes = pooled;
    }
    if (between_.output) {
      const int64_t seen = b.floats("seen", mid);
      b.node("dequantize", DequantizeAttributes{}, {codes}, {seen});
      b.model.graph.outputs.push_back(seen);
    }
    read(codes, mid);
  }

  void read(int64_t codes, const Shape& mid) {
    const Shape logits{kBatch, fixed(4)};
    const int64_t y = b.floats("y", logits);
    if (between_.flatten) {
      const Shape flat{kBatch, fixed(kMid * kSize * kSize)};
      const int64_t f = b.same("flat", codes, flat);
      b.node("flatten", ReshapeAttributes{flat}, {codes}, {f});
      b.node("fc", linear("fc", kMid * kSize * kSize, 4), {f}, {y});
    } else if (between_.mean) {
      const int64_t m = b.floats("m", {kBatch, fixed(kMid)});
      b.node("mean", MeanAttributes{{2, 3}, false}, {codes}, {m});
      const int64_t n = b.codes("n", {kBatch, fixed(kMid)}, {0.3f, 40});
      b.node("mean.quantize", QuantizeAttributes{}, {m}, {n});
      b.node("fc", linear("fc", kMid, 4), {n}, {y});
    } else {
      b.model.graph.values[y].shape = {kBatch, fixed(4), fixed(kSize), fixed(kSize)};
      b.node("conv2", conv("conv2", {4, kMid, 3, 3}, 4, 1), {codes}, {y});
    }
    b.model.graph.outputs.push_back(y);
    if (!between_.both_read) return;
    const int64_t z = b.floats("z", {kBatch, fixed(2), fixed(kSize), fixed(kSize)});
    b.node("conv3", conv("conv3", {2, kMid, 3, 3}, 2, 1), {codes}, {z});
    b.model.graph.outputs.push_back(z);
    (void)mid;
  }

  void random_numbers() {
    std::mt19937 random(7);
    for (auto& [name, tensor] : b.model.tensors) {
      for (int64_t i = 0; i < tensor.numel(); ++i) {
        if (tensor.type == TensorType::int8) {
          tensor.data<int8_t>()[i] = static_cast<int8_t>(static_cast<int>(random() % 255) - 127);
        } else {
          // Some multipliers are negative, as behind a batch norm with a negative gain.
          tensor.data<float>()[i] = (static_cast<float>(random() % 2001) - 1000.0f) * 1e-5f;
        }
      }
    }
  }

  Between between_;
};

std::vector<Tensor> outputs(const Model& model, bool fast) {
  Tensor x{TensorType::float32, {3, 3, kSize, kSize}, {}};
  x.bytes.resize(static_cast<size_t>(x.numel()) * 4);
  std::mt19937 random(3);
  for (int64_t i = 0; i < x.numel(); ++i) {
    x.data<float>()[i] = (static_cast<float>(random() % 2001) - 1000.0f) * 0.012f;
  }
  const auto executor =
      fast ? runtime::make_fast_executor(model, {}) : runtime::make_reference_executor(model, {});
  return executor->run({x});
}

void expect_same_outputs(const Model& before, const Model& after) {
  for (const bool fast : {false, true}) {
    const auto expected = outputs(before, fast), got = outputs(after, fast);
    ASSERT_EQ(expected.size(), got.size());
    for (size_t i = 0; i < expected.size(); ++i) {
      EXPECT_EQ(expected[i].shape, got[i].shape);
      EXPECT_EQ(expected[i].bytes, got[i].bytes) << "output " << i << " fast " << fast;
    }
  }
}

int64_t removed_without_a_change(Net& net) {
  const Model before = net.b.model;
  const int64_t removed = remove_channels(net.b.model);
  validate(net.b.model, "after");
  expect_same_outputs(before, net.b.model);
  return removed;
}

TEST(RemoveChannels, BetweenConvolutions) {
  Net net({.pool = true});
  net.clear({0, 3, 5});
  EXPECT_EQ(removed_without_a_change(net), 3);
  EXPECT_EQ(net.shape("conv1.weight"), (std::vector<int64_t>{3, 3, 3, 3}));
  EXPECT_EQ(net.shape("conv1.multiplier"), (std::vector<int64_t>{3}));
  EXPECT_EQ(net.shape("conv1.bias"), (std::vector<int64_t>{3}));
  EXPECT_EQ(net.shape("conv2.weight"), (std::vector<int64_t>{4, 3, 3, 3}));
  EXPECT_EQ(testing::value_named(net.b.model, "pooled").shape[1], fixed(3));
  EXPECT_EQ(remove_channels(net.b.model), 0) << "nothing is left to remove";
}

TEST(RemoveChannels, ThroughFlatten) {
  Net net({.pool = true, .flatten = true});
  net.clear({1, 2});
  EXPECT_EQ(removed_without_a_change(net), 2);
  EXPECT_EQ(net.shape("fc.weight"), (std::vector<int64_t>{4, 4 * kSize * kSize}));
}

TEST(RemoveChannels, ThroughTheMean) {
  Net net({.mean = true});
  net.clear({4});
  EXPECT_EQ(removed_without_a_change(net), 1);
  EXPECT_EQ(net.shape("fc.weight"), (std::vector<int64_t>{4, 5}));
}

TEST(RemoveChannels, OneChannelStays) {
  Net net({});
  net.clear({0, 1, 2, 3, 4, 5});
  EXPECT_EQ(removed_without_a_change(net), 5);
  EXPECT_EQ(net.shape("conv2.weight"), (std::vector<int64_t>{4, 1, 3, 3}));
}

TEST(RemoveChannels, ABiasIsAValue) {
  Net net({});
  net.clear({0, 3}, 0.01f);
  EXPECT_EQ(removed_without_a_change(net), 0);
}

TEST(RemoveChannels, WhatHasToStay) {
  const numerics::Activation half{numerics::ActivationKind::hardsigmoid};  // takes 0 to 0.5
  for (const Between& between : {Between{.residual = true}, Between{.both_read = true},
                                 Between{.output = true}, Between{.activation = half}}) {
    Net net(between);
    net.clear({0, 3});
    EXPECT_EQ(removed_without_a_change(net), 0);
    EXPECT_EQ(net.shape("conv1.weight")[0], kMid);
  }
}

TEST(RemoveChannels, ASharedWeightStays) {
  Net net({});
  net.clear({0});
  auto& conv2 = std::get<ConvAttributes>(testing::node_named(net.b.model, "conv2").attributes);
  auto& conv1 = std::get<ConvAttributes>(testing::node_named(net.b.model, "conv1").attributes);
  // conv2 takes its multipliers from the same tensor.
  net.b.model.tensors.erase(conv2.multiplier);
  conv2.multiplier = conv1.multiplier;
  EXPECT_EQ(remove_channels(net.b.model), 0);
}

TEST(RemoveChannels, EveryOperatorStaysValid) {
  Model model = testing::every_operator(8);
  const Model before = model;
  EXPECT_EQ(remove_channels(model), 0);
  validate(model, "after");
}

}  // namespace
}  // namespace qat::lower
