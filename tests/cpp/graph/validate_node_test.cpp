// Rules of single operators: one change to a correct model each.

#include <limits>

#include "graph/refusal.h"

namespace qat::graph {
namespace {

using testing::fixed;
using testing::node_named;
using testing::refusal;
using testing::value_named;

TEST(ValidateNode, Arity) {
  EXPECT_EQ(refusal([](Model& m) {
              node_named(m, "bn").inputs = {3, 3};
            }),
            "f: node 3 'bn' (affine): must have 1 inputs, got 2");
  EXPECT_EQ(refusal([](Model& m) { node_named(m, "add").inputs = {12}; }),
            "f: node 13 'add' (add): must have 2 inputs, got 1");
  EXPECT_EQ(refusal([](Model& m) { node_named(m, "cat").inputs = {}; }),
            "f: node 19 'cat' (concat): must have at least 1 input, got 0");
  EXPECT_EQ(
      refusal([](Model& m) {
        m.graph.values.push_back(value_named(m, "bn"));
        node_named(m, "bn").outputs.push_back(static_cast<int64_t>(m.graph.values.size()) - 1);
      }),
      "f: node 3 'bn' (affine): must have 1 output, got 2");
  EXPECT_EQ(refusal([](Model& m) {
              m.graph.nodes.push_back({"free", AtenAttributes{}, {}, {}});
            }),
            "f: node 30 'free' (aten): must have at least 1 output, got 0");
}

TEST(ValidateNode, Types) {
  EXPECT_EQ(refusal([](Model& m) { node_named(m, "up").inputs = {5}; }),
            "f: node 7 'up' (conv): input 0 must be codes, got float32");
  EXPECT_EQ(refusal([](Model& m) { node_named(m, "bn").inputs = {1}; }),
            "f: node 3 'bn' (affine): input 0 must be float32, got codes");
  EXPECT_EQ(refusal([](Model& m) { value_named(m, "conv1").type = ElementType::int64; }),
            "f: node 1 'conv1' (conv): output must be float32, got int64");
  EXPECT_EQ(refusal([](Model& m) {
              node_named(m, "sub").inputs = {14, 11};
            }),
            "f: node 14 'sub' (sub): input 1 must be float32, got codes");
  EXPECT_EQ(refusal([](Model& m) { value_named(m, "maxpool").type = ElementType::float32; }),
            "f: node 6 'maxpool' (max_pool): input 0 must be float32, got codes");
  EXPECT_EQ(refusal([](Model& m) { value_named(m, "ids").type = ElementType::codes; }),
            "f: node 28 'ids' (constant): output must be float32, int64 or boolean, got codes");
}

TEST(ValidateNode, MovedCodesKeepTheirParameters) {
  const std::string rule =
      "codes are moved, so input 0 and output must have the same scale, zero point and format, "
      "got u8 with zero point 7 and scale 0.100000, and ";
  EXPECT_EQ(refusal([](Model& m) { value_named(m, "permute").qparams.zero_point = 8; }),
            "f: node 24 'permute' (permute): " + rule + "u8 with 8 and 0.100000");
  EXPECT_EQ(refusal([](Model& m) { value_named(m, "permute").qparams.scale = 0.25f; }),
            "f: node 24 'permute' (permute): " + rule + "u8 with 7 and 0.250000");
  EXPECT_EQ(refusal([](Model& m) {
              value_named(m, "permute").format = {6, false, false};
            }),
            "f: node 24 'permute' (permute): " + rule + "u6 with 7 and 0.100000");
  for (const char* name : {"maxpool", "cat", "pad", "resize", "slice", "batch_slice", "flatten"}) {
    EXPECT_NE(refusal([&](Model& m) {
                value_named(m, name).qparams.scale = 3.0f;
              }).find("codes are moved, so input 0"),
              std::string::npos)
        << name;
  }
}

TEST(ValidateNode, OutputShapes) {
  for (const char* name :
       {"image.codes", "conv1",  "relu6", "bn",          "maxpool", "up",         "avgpool",
        "adaptive",    "mean",   "add",   "gelu",        "sigmoid", "gelu.float", "cat",
        "pad",         "resize", "slice", "batch_slice", "permute", "flatten",    "fc"}) {
    const std::string message =
        refusal([&](Model& m) { value_named(m, name).shape.back().constant += 1; });
    EXPECT_NE(message.find("): output must have shape ["), std::string::npos) << message;
  }
  EXPECT_EQ(refusal([](Model& m) { value_named(m, "up").shape[2] = fixed(8); }),
            "f: node 7 'up' (conv): output must have shape [B, 6, 9, 8], got [B, 6, 8, 8]");
}

TEST(ValidateNode, MissingAndWrongTensors) {
  using A = ConvAttributes;
  EXPECT_EQ(refusal<A>("conv1", [](A& a) { a.weight = "nowhere"; }),
            "weight: there is no tensor 'nowhere'");
  EXPECT_EQ(refusal<A>("conv1", [](A& a) { a.weight = "bn.bias"; }),
            "weight 'bn.bias' must be int8, got float32");
  EXPECT_EQ(refusal<A>("conv1", [](A& a) { a.multiplier = "fc.multiplier"; }),
            "multiplier 'fc.multiplier' must be float32 [4], got float32 [5]");
  EXPECT_EQ(refusal<A>("conv1", [](A& a) { a.bias = "gelu.table"; }),
            "bias 'gelu.table' must be float32 [4], got int8 [256]");
  EXPECT_EQ(refusal<A>("up", [](A& a) { a.multiplier = "conv1.multiplier"; }),
            "multiplier 'conv1.multiplier' must be float32 [6], got float32 [4]");
  EXPECT_EQ(refusal<LinearAttributes>("fc", [](auto& a) { a.bias = "bn.bias"; }),
            "bias 'bn.bias' must be float32 [5], got float32 [4]");
  EXPECT_EQ(refusal<AffineAttributes>("bn", [](auto& a) { a.bias = "fc.bias"; }),
            "bias 'fc.bias' must be float32 [4], got float32 [5]");
  EXPECT_EQ(refusal<ActivationAttributes>("prelu", [](auto& a) { a.slope = "fc.bias"; }),
            "slope 'fc.bias' must be float32 [4], got float32 [5]");
  EXPECT_EQ(refusal<LookupAttributes>("gelu", [](auto& a) { a.table = "sigmoid.table"; }),
            "table 'sigmoid.table' must be int8 [256], got float32 [16]");
  EXPECT_EQ(refusal<ConstantAttributes>("ids", [](auto& a) { a.tensor = "mask"; }),
            "tensor 'mask' must be int64 [2, 1], got boolean [5]");
}

TEST(ValidateNode, Layout) {
  EXPECT_EQ(refusal<ConcatAttributes>("cat", [](auto& a) { a.axis = 4; }),
            "axis must be 0 to 3, got 4");
  EXPECT_EQ(refusal([](Model& m) {
              node_named(m, "cat").inputs = {11, 7};
            }),
            "f: node 19 'cat' (concat): codes are moved, so input 1 and output must have the same "
            "scale, zero point and format, got s8 with zero point -3 and scale 0.250000, and u8 "
            "with 7 and 0.100000");
  using Pad = PadAttributes;
  EXPECT_EQ(refusal<Pad>("pad", [](Pad& a) { a.before = {1}; }),
            "before must have 4 entries, got [1]");
  EXPECT_EQ(refusal<Pad>("pad",
                         [](Pad& a) {
                           a.after = {0, 0, 0, -1};
                         }),
            "after must be at least 0 on every axis, got [0, 0, 0, -1]");
  EXPECT_EQ(refusal<Pad>("pad", [](Pad& a) { a.code = 256; }), "code must be 0 to 255, got 256");
  EXPECT_EQ(refusal([](Model& m) {
              value_named(m, "flatten").shape = {{2, 0}, fixed(323)};
              std::get<ReshapeAttributes>(node_named(m, "flatten").attributes).shape = {{2, 0},
                                                                                        fixed(323)};
            }),
            "f: node 25 'flatten' (reshape): input and output must have as many elements, got [B, "
            "12, 18, 3] and [2*B, 323]");
  using Permute = PermuteAttributes;
  EXPECT_EQ(refusal<Permute>("permute",
                             [](Permute& a) {
                               a.axes = {0, 1, 1, 2};
                             }),
            "axes must be a permutation, got [0, 1, 1, 2]");
  EXPECT_EQ(refusal<Permute>("permute",
                             [](Permute& a) {
                               a.axes = {0, 1};
                             }),
            "axes must have 4 entries, got [0, 1]");
  EXPECT_EQ(refusal<Permute>("permute",
                             [](Permute& a) {
                               a.axes = {0, 1, 2, 4};
                             }),
            "axes must be 0 to 3, got 4");
  using Factor = UpsampleNearestAttributes;
  EXPECT_EQ(refusal<Factor>("resize", [](Factor& a) { a.factor = {}; }),
            "factor must have 1 to 4 entries, got []");
  EXPECT_EQ(refusal<Factor>("resize",
                            [](Factor& a) {
                              a.factor = {2, 0};
                            }),
            "factor must be at least 1 on every axis, got [2, 0]");
}

TEST(ValidateNode, Slice) {
  using A = SliceAttributes;
  const std::string rule = "start and stop must lie in order within the axis, got ";
  EXPECT_EQ(refusal<A>("slice", [](A& a) { a.step = 0; }), "step must be at least 1, got 0");
  EXPECT_EQ(refusal<A>("slice", [](A& a) { a.axis = -1; }), "axis must be 0 to 3, got -1");
  EXPECT_EQ(refusal<A>("slice", [](A& a) { a.stop = fixed(13); }),
            rule + "1 and 13 on input [B, 12, 12, 18]");
  EXPECT_EQ(refusal<A>("slice", [](A& a) { a.start = fixed(-1); }),
            rule + "-1 and 12 on input [B, 12, 12, 18]");
  EXPECT_EQ(refusal<A>("slice", [](A& a) { a.stop = fixed(0); }),
            rule + "1 and 0 on input [B, 12, 12, 18]");
  EXPECT_EQ(refusal<A>("batch_slice",
                       [](A& a) {
                         a.stop = {1, 1};
                       }),
            rule + "0 and B+1 on input [B, 3, 12, 18]");
  EXPECT_EQ(refusal<A>("batch_slice", [](A& a) { a.step = 2; }),
            "a slice whose length depends on the batch must have step 1");
  EXPECT_EQ(refusal<A>("slice",
                       [](A& a) {
                         a.stop = {int64_t{1} << 62, 0};
                       }),
            "stop must be at most 68719476736 in magnitude, got 4611686018427387904*B");
}

TEST(ValidateNode, Elementwise) {
  using A = ActivationAttributes;
  EXPECT_EQ(refusal<A>("relu6", [](A& a) { a.activation.kind = {}; }),
            "kind must name an activation, got none");
  EXPECT_EQ(
      refusal<A>("relu6", [](A& a) { a.activation.p1 = std::numeric_limits<float>::quiet_NaN(); }),
      "p0 and p1 must be numbers, got nan");
  EXPECT_EQ(refusal<A>("relu6", [](A& a) { a.slope = "prelu.slope"; }),
            "slope goes with kind leaky_relu only, got clamp");
  EXPECT_EQ(refusal([](Model& m) { value_named(m, "mean").shape[2] = fixed(2); }),
            "f: node 12 'mean' (mean): output must have shape [B, 6, 1, 1], got [B, 6, 2, 1]");
  EXPECT_EQ(refusal([](Model& m) {
              node_named(m, "add").inputs = {12, 2};
            }),
            "f: node 13 'add' (add): inputs do not broadcast: [B, 6, 2, 3] and [B, 4, 8, 8]");
  EXPECT_EQ(refusal([](Model& m) { m.tensors["gelu.table"].data<int8_t>()[9] = 8; }),
            "f: node 16 'gelu' (lookup): table 'gelu.table' must hold codes of s4, got 8 at [9]");
}

TEST(ValidateNode, Aten) {
  using A = AtenAttributes;
  for (const char* schema : {"", "aten::", "softmax.int", "aten::a.", "aten::a b", "prim::a",
                             "aten::a.b.c", "aten::\xc3\xa9"}) {
    EXPECT_EQ(refusal<A>("masked_fill", [&](A& a) { a.schema = schema; })
                  .rfind("schema must read aten::name or aten::name.overload, got '", 0),
              0u)
        << schema;
  }
  EXPECT_EQ(refusal<A>("masked_fill", [](A& a) { a.arguments[0] = {InputArgument{2}}; }),
            "an argument must refer to an input below 2, got 2");
  EXPECT_EQ(
      refusal<A>("masked_fill", [](A& a) { a.arguments[0] = {AtenList{{InputArgument{-1}}}}; }),
      "an argument must refer to an input below 2, got -1");
  EXPECT_EQ(refusal<A>("masked_fill",
                       [](A& a) {
                         a.arguments[0] = {Affine{int64_t{1} << 60, 0}};
                       }),
            "a size that depends on the batch must be at most 68719476736, got "
            "1152921504606846976*B");
  constexpr int64_t kLeast = std::numeric_limits<int64_t>::min();  // has no absolute value
  EXPECT_EQ(refusal<A>("masked_fill",
                       [](A& a) {
                         a.arguments[0] = {Affine{1, kLeast}};
                       }),
            "a size that depends on the batch must be at most 68719476736, got "
            "B-9223372036854775808");
  EXPECT_EQ(refusal<A>("masked_fill",
                       [](A& a) {
                         AtenArgument nested{AtenList{}};
                         for (int i = 0; i < 30; ++i) nested = {AtenList{nested}};
                         a.arguments[0] = nested;
                       }),
            "lists in arguments must be nested at most 24 deep");
}

}  // namespace
}  // namespace qat::graph
