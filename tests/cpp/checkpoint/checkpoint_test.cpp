#include "checkpoint/checkpoint.h"

#include <gtest/gtest.h>

#include <cstring>

#include "checkpoint/safetensors.h"
#include "graph/expect_error.h"
#include "graph/json.h"
#include "graph/models.h"

namespace qat::checkpoint {
namespace {

using testing::every_operator;
using testing::message_of;
using testing::tiny_model;

void expect_equal(const graph::Model& a, const graph::Model& b) {
  const graph::EncodedGraph left = graph::encode(a, "a");
  const graph::EncodedGraph right = graph::encode(b, "b");
  EXPECT_EQ(left.json, right.json);  // json_test.cpp shows that nothing is left out
  EXPECT_EQ(left.scales, right.scales);
  EXPECT_EQ(a.provenance, b.provenance);
  ASSERT_EQ(a.tensors.size(), b.tensors.size());
  for (const auto& [name, tensor] : a.tensors) {
    const auto other = b.tensors.find(name);
    ASSERT_NE(other, b.tensors.end()) << name;
    EXPECT_EQ(tensor.type, other->second.type) << name;
    EXPECT_EQ(tensor.shape, other->second.shape) << name;
    EXPECT_EQ(tensor.bytes, other->second.bytes) << name;
  }
}

TEST(Checkpoint, EveryOperatorAndWidthComesBack) {
  for (int bits = numerics::kMinBits; bits <= numerics::kMaxBits; ++bits) {
    const graph::Model model = every_operator(bits);
    const std::string bytes = serialize(model);
    const graph::Model reloaded = parse(bytes, "memory");
    expect_equal(model, reloaded);
    EXPECT_EQ(serialize(reloaded), bytes) << "the same model gives the same file";
  }
}

TEST(Checkpoint, WeightsBelowEightBitsArePacked) {
  for (int bits = numerics::kMinBits; bits <= numerics::kMaxBits; ++bits) {
    const safetensors::File file = safetensors::parse(serialize(every_operator(bits)), "memory");
    const safetensors::Entry& weight = file.tensors.at("fc.weight");
    EXPECT_EQ(weight.dtype, bits < 8 ? "U8" : "I8");
    EXPECT_EQ(weight.bytes.size(), static_cast<size_t>((5 * 324 * bits + 7) / 8));
  }
}

TEST(Checkpoint, ScalesKeepEveryBit) {
  graph::Model model = tiny_model();
  for (const float scale : {0x1p-40f, 0x1.fffffep-1f, 0x1.000002p3f, 0x1p100f}) {
    testing::value_named(model, "q").qparams.scale = scale;
    graph::Model reloaded = parse(serialize(model), "memory");
    EXPECT_EQ(testing::value_named(reloaded, "q").qparams.scale, scale);
  }
}

TEST(Checkpoint, FloatAttributesKeepEveryBit) {
  graph::Model model = tiny_model();
  auto& relu6 =
      std::get<graph::ActivationAttributes>(testing::node_named(model, "relu6").attributes);
  uint32_t state = 1;
  for (int i = 0; i < 2000; ++i) {
    state = state * 1664525u + 1013904223u;
    float number = 0;
    std::memcpy(&number, &state, sizeof number);
    if (number != number) continue;
    relu6.activation.p0 = number;
    graph::Model reloaded = parse(serialize(model), "memory");
    const float found =
        std::get<graph::ActivationAttributes>(testing::node_named(reloaded, "relu6").attributes)
            .activation.p0;
    ASSERT_EQ(std::memcmp(&found, &number, sizeof number), 0) << number;
  }
}

TEST(Checkpoint, AGraphWithoutCodesNeedsNoScales) {
  testing::ModelBuilder b;
  const graph::Shape shape{testing::kBatch, testing::fixed(2)};
  b.model.graph.inputs = {b.floats("x", shape)};
  b.model.graph.outputs = {b.floats("y", shape)};
  b.node("relu", graph::ActivationAttributes{{numerics::ActivationKind::relu, 0, 0}, ""}, {0}, {1});
  const std::string bytes = serialize(b.model);
  EXPECT_EQ(bytes.find("activation_scales"), std::string::npos);
  expect_equal(b.model, parse(bytes, "memory"));
}

TEST(Checkpoint, SavingChecksTheModel) {
  graph::Model model = tiny_model();
  testing::value_named(model, "q").qparams.zero_point = 16;
  EXPECT_EQ(message_of([&] { serialize(model); }),
            "model: value 1 'q': zero point must be a code of u4, 0 to 15, got 16");
  EXPECT_EQ(
      message_of([&] { save(model, "/tmp/never_written.safetensors"); }),
      "/tmp/never_written.safetensors: value 1 'q': zero point must be a code of u4, 0 to 15, "
      "got 16");
}

TEST(Checkpoint, TextMustBeUtf8) {
  graph::Model model = tiny_model();
  model.provenance["job"] = "\xff";
  EXPECT_EQ(message_of([&] { serialize(model); }),
            "model: provenance: keys and values must be UTF-8 text");
  model = tiny_model();
  model.graph.nodes[0].name = "\xff";
  EXPECT_EQ(message_of([&] { serialize(model); }),
            "model: graph: names and strings must be UTF-8 text");
}

// The file of a CNN with 40 nodes: 32 KB is what docs/format.md allows besides the weights of a
// small ResNet, and per-channel tensors need headers too.
TEST(Checkpoint, HeaderIsSmall) {
  testing::ModelBuilder b;
  const graph::Shape shape{testing::kBatch, testing::fixed(2), testing::fixed(4),
                           testing::fixed(4)};
  int64_t last = b.floats("input", shape);
  b.model.graph.inputs = {last};
  for (int i = 0; i < 14; ++i) {  // 14 times quantize, conv, activation: 42 nodes
    const std::string name = "layer" + std::to_string(i) + ".0.conv1";
    const int64_t q = b.codes(name + ".codes", shape, {0.01f * static_cast<float>(i + 1), 128});
    const int64_t c = b.floats(name, shape);
    const int64_t r = b.floats(name + ".relu", shape);
    graph::ConvAttributes conv;
    conv.weight = b.weight(name + ".weight", {2, 2, 3, 3}, numerics::kInt8Narrow);
    conv.multiplier = b.channel(name + ".multiplier", 2);
    conv.bias = b.channel(name + ".bias", 2);
    conv.stride = conv.padding = conv.dilation = {1, 1};
    conv.output_padding = {0, 0};
    b.node(name + ".quantize", graph::QuantizeAttributes{}, {last}, {q});
    b.node(name, conv, {q}, {c});
    b.node(name + ".relu", graph::ActivationAttributes{{numerics::ActivationKind::relu, 0, 0}, ""},
           {c}, {r});
    last = r;
  }
  b.model.graph.outputs = {last};
  const std::string bytes = serialize(b.model);
  size_t tensor_bytes = 0;
  for (const auto& [name, tensor] : b.model.tensors) tensor_bytes += tensor.bytes.size();
  EXPECT_LT(bytes.size() - tensor_bytes, 24000u);
  RecordProperty("overhead", static_cast<int>(bytes.size() - tensor_bytes));
}

}  // namespace
}  // namespace qat::checkpoint
