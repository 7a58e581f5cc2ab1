// Rules on values, tensors and the order of nodes.

#include "graph/validate.h"

#include "graph/expect_error.h"
#include "graph/models.h"

namespace qat::graph {
namespace {

using testing::every_operator;
using testing::fixed;
using testing::message_of;
using testing::node_named;
using testing::tiny_model;
using testing::value_named;

std::string refusal(const std::function<void(Model&)>& change) {
  Model model = tiny_model();
  change(model);
  return message_of([&] { validate(model, "f"); });
}

TEST(Validate, AcceptsTheModels) {
  EXPECT_NO_THROW(validate(tiny_model(), "f"));
  for (int bits = numerics::kMinBits; bits <= numerics::kMaxBits; ++bits) {
    EXPECT_NO_THROW(validate(every_operator(bits), "f"));
  }
  EXPECT_NO_THROW(validate(Model{}, "f"));
}

TEST(Validate, Tensors) {
  const std::string rule = ": a name is 1 to 256 characters out of [A-Za-z0-9_./#:-]";
  EXPECT_EQ(refusal([](Model& m) { m.tensors["a b"] = {}; }), "f: tensor 'a b'" + rule);
  EXPECT_EQ(refusal([](Model& m) { m.tensors[""] = {}; }), "f: tensor ''" + rule);
  EXPECT_TRUE(is_tensor_name(std::string(256, 'a')));
  EXPECT_FALSE(is_tensor_name(std::string(257, 'a')));
  EXPECT_TRUE(is_tensor_name("Az09_./#:-"));
  EXPECT_FALSE(is_tensor_name("\xc3\xa9"));
  EXPECT_EQ(refusal([](Model& m) { m.tensors["conv.bias"].shape.assign(9, 1); }),
            "f: tensor 'conv.bias': rank must be at most 8, got 9");
  EXPECT_EQ(refusal([](Model& m) { m.tensors["conv.bias"].shape = {2}; }),
            "f: tensor 'conv.bias': shape [2] of float32 does not fit 4 bytes");
  EXPECT_EQ(refusal([](Model& m) { m.tensors["conv.bias"].shape = {-1}; }),
            "f: tensor 'conv.bias': shape [-1] of float32 does not fit 4 bytes");
  EXPECT_EQ(refusal([](Model& m) {
              m.tensors["conv.bias"].shape = {int64_t{1} << 62, int64_t{1} << 62};
            }),
            "f: tensor 'conv.bias': shape [4611686018427387904, 4611686018427387904] of float32 "
            "does not fit 4 bytes");
  EXPECT_EQ(refusal([](Model& m) {
              m.tensors["flag"] = {TensorType::boolean, {1}, {std::byte{2}}};
            }),
            "f: tensor 'flag': booleans must be 0 or 1, got 2");
  EXPECT_EQ(refusal([](Model& m) {
              m.tensors["spare"] = {TensorType::int8, {0}, {}};
            }),
            "f: tensor 'spare': no node uses it; remove it");
  EXPECT_EQ(refusal([](Model& m) {
              m.tensors["activation_scales"] = {TensorType::int8, {0}, {}};
            }),
            "f: tensor 'activation_scales': the name is reserved for the file's scales");
}

TEST(Validate, Values) {
  EXPECT_EQ(refusal([](Model& m) { value_named(m, "x").shape.assign(9, fixed(1)); }),
            "f: value 0 'x': rank must be at most 8, got 9");
  const std::string rule =
      "f: value 0 'x': sizes must not be negative nor shrink with the batch, and make at most "
      "68719476736 elements at batch 2, got ";
  EXPECT_EQ(refusal([](Model& m) { value_named(m, "x").shape = {fixed(-1)}; }), rule + "[-1]");
  EXPECT_EQ(refusal([](Model& m) { value_named(m, "x").shape = {{-1, 9}}; }), rule + "[-1*B+9]");
  EXPECT_EQ(refusal([](Model& m) { value_named(m, "x").shape = {{1, -3}}; }), rule + "[B-3]");
  EXPECT_EQ(refusal([](Model& m) {
              value_named(m, "x").shape = {fixed(1 << 19), fixed(1 << 18)};
            }),
            rule + "[524288, 262144]");
  EXPECT_EQ(refusal([](Model& m) {
              value_named(m, "x").shape = {{std::numeric_limits<int64_t>::max(), 0}};
            }),
            rule + "[9223372036854775807*B]");
}

TEST(Validate, Parameters) {
  EXPECT_EQ(refusal([](Model& m) { value_named(m, "q").format.bits = 9; }),
            "f: value 1 'q': codes must have 2 to 8 bits, got 9");
  EXPECT_EQ(refusal([](Model& m) { value_named(m, "q").format.bits = 1; }),
            "f: value 1 'q': codes must have 2 to 8 bits, got 1");
  EXPECT_EQ(refusal([](Model& m) { value_named(m, "q").format.narrow = true; }),
            "f: value 1 'q': a narrow format must be signed, got an unsigned one");
  for (const float scale :
       {0.0f, -1.0f, 0x1.fffffep-41f, 0x1.000002p100f, std::numeric_limits<float>::infinity(),
        std::numeric_limits<float>::quiet_NaN()}) {
    EXPECT_EQ(refusal([&](Model& m) { value_named(m, "q").qparams.scale = scale; }),
              "f: value 1 'q': scale must be 2^-40 to 2^100, got " + std::to_string(scale));
  }
  for (const int zero_point : {-1, 16}) {
    EXPECT_EQ(refusal([&](Model& m) { value_named(m, "q").qparams.zero_point = zero_point; }),
              "f: value 1 'q': zero point must be a code of u4, 0 to 15, got " +
                  std::to_string(zero_point));
  }
}

TEST(Validate, Order) {
  EXPECT_EQ(refusal([](Model& m) { node_named(m, "in").inputs = {7}; }),
            "f: node 0 'in' (quantize): index of a value must be below 4, got 7");
  EXPECT_EQ(refusal([](Model& m) { node_named(m, "in").outputs = {-1}; }),
            "f: node 0 'in' (quantize): index of a value must be below 4, got -1");
  EXPECT_EQ(refusal([](Model& m) { m.graph.inputs = {4}; }),
            "f: graph inputs: index of a value must be below 4, got 4");
  EXPECT_EQ(refusal([](Model& m) { m.graph.outputs = {4}; }),
            "f: graph outputs: index of a value must be below 4, got 4");
  EXPECT_EQ(refusal([](Model& m) {
              m.graph.inputs = {0, 0};
            }),
            "f: graph inputs: value 0 is written twice");
  EXPECT_EQ(refusal([](Model& m) { node_named(m, "relu6").outputs = {2}; }),
            "f: node 2 'relu6' (activation): value 2 is written twice");
  EXPECT_EQ(refusal([](Model& m) { node_named(m, "in").outputs = {0}; }),
            "f: node 0 'in' (quantize): value 0 is written twice");
  EXPECT_EQ(refusal([](Model& m) { std::swap(m.graph.nodes[1], m.graph.nodes[2]); }),
            "f: node 1 'relu6' (activation): value 2 is read before it is written");
  EXPECT_EQ(refusal([](Model& m) { node_named(m, "relu6").inputs = {3}; }),
            "f: node 2 'relu6' (activation): value 3 is read before it is written");
  EXPECT_EQ(refusal([](Model& m) {
              m.graph.values.push_back({"spare", {}, {}, {}, {}});
            }),
            "f: value 4 'spare': no node writes it and it is no graph input");
  EXPECT_EQ(refusal([](Model& m) { m.graph.inputs = {}; }),
            "f: node 0 'in' (quantize): value 0 is read before it is written");
  EXPECT_EQ(refusal([](Model& m) { value_named(m, "x").type = ElementType::codes; }),
            "f: value 0 'x': a graph input must be float32, int64 or boolean, got codes");
}

TEST(Validate, OutputNames) {
  EXPECT_EQ(refusal([](Model& m) {
              m.graph.output_names = {"a", "b"};
            }),
            "f: output_names must be empty or have 1 entries, one per output, got 2");
  EXPECT_EQ(refusal([](Model& m) {
              m.graph.outputs = {3, 3};
              m.graph.output_names = {"a", "a"};
            }),
            "f: output_names: 'a' stands twice");
}

TEST(Validate, SharedWeightsHaveOneFormat) {
  Model model = every_operator(4);
  Node twin = node_named(model, "conv1");
  twin.name = "twin";
  model.graph.values.push_back(value_named(model, "conv1"));
  twin.outputs = {static_cast<int64_t>(model.graph.values.size()) - 1};
  model.graph.nodes.push_back(twin);
  EXPECT_NO_THROW(validate(model, "f"));
  std::get<ConvAttributes>(node_named(model, "conv1").attributes).weight_format.bits = 5;
  EXPECT_EQ(
      message_of([&] { validate(model, "f"); }),
      "f: node 30 'twin' (conv): weight 'conv1.weight' has format s5 in another node, got s4");
}

}  // namespace
}  // namespace qat::graph
