#include "graph/json.h"

#include <nlohmann/json.hpp>

#include "graph/expect_error.h"
#include "graph/models.h"
#include "graph/spelling.h"

namespace qat::graph {
namespace {

using nlohmann::json;
using testing::every_operator;
using testing::message_of;

json node_json(const json& graph, const std::string& name) {
  for (const json& node : graph["nodes"]) {
    if (node["name"] == name) return node;
  }
  ADD_FAILURE() << "no node " << name;
  return {};
}

// The text of one node, in the order of docs/format.md. Every attribute has a value that is not
// its default somewhere, so that none can get lost.
TEST(GraphJson, NodesReadAsTheSpecificationSays) {
  const std::string text = encode(every_operator(4), "m").json;
  for (const char* node : {
           R"({"op":"quantize","name":"image.quantize","inputs":[0],"outputs":[1]})",
           R"({"op":"conv","name":"conv1","inputs":[1],"outputs":[2],"weight":"conv1.weight",)"
           R"("weight_format":"s4","weight_shape":[4,3,3,2],"multiplier":"conv1.multiplier",)"
           R"("bias":"conv1.bias","stride":[1,2],"padding":[1,4],"dilation":[1,1],)"
           R"("output_padding":[0,0],"groups":1,"transposed":false})",
           R"({"op":"conv","name":"up","inputs":[7],"outputs":[8],"weight":"up.weight",)"
           R"("weight_format":"s4","weight_shape":[4,3,2,2],"multiplier":"up.multiplier",)"
           R"("bias":null,"stride":[2,2],"padding":[0,0],"dilation":[1,1],)"
           R"("output_padding":[1,0],"groups":2,"transposed":true})",
           R"({"op":"activation","name":"relu6","inputs":[2],"outputs":[3],"kind":"clamp",)"
           R"("p0":-0.10000000149011612,"p1":6.0,"slope":null})",
           R"({"op":"activation","name":"prelu","inputs":[4],"outputs":[5],"kind":"leaky_relu",)"
           R"("p0":0.0,"p1":0.0,"slope":"prelu.slope"})",
           R"({"op":"affine","name":"bn","inputs":[3],"outputs":[4],"multiplier":"bn.multiplier",)"
           R"("bias":"bn.bias"})",
           R"({"op":"max_pool","name":"maxpool","inputs":[6],"outputs":[7],"kernel":[3,2],)"
           R"("stride":[2,2],"padding":[1,0],"dilation":[1,1],"ceil_mode":false})",
           R"({"op":"avg_pool","name":"avgpool","inputs":[9],"outputs":[10],"kernel":[2,2],)"
           R"("stride":[2,2],"padding":[0,0],"ceil_mode":true,"count_include_pad":false,)"
           R"("divisor_override":3})",
           R"({"op":"adaptive_avg_pool","name":"adaptive","inputs":[11],"outputs":[12],)"
           R"("output_size":[2,3]})",
           R"({"op":"mean","name":"mean","inputs":[11],"outputs":[13],"axes":[2,3],)"
           R"("keepdim":true})",
           R"({"op":"sub","name":"sub","inputs":[14,13],"outputs":[15]})",
           R"({"op":"lookup","name":"gelu","inputs":[11],"outputs":[17],"table":"gelu.table"})",
           R"({"op":"concat","name":"cat","inputs":[11,11],"outputs":[20],"axis":1})",
           R"({"op":"pad","name":"pad","inputs":[20],"outputs":[21],"before":[0,0,1,2],)"
           R"("after":[0,0,0,0],"code":7})",
           R"({"op":"upsample_nearest","name":"resize","inputs":[21],"outputs":[22],)"
           R"("factor":[2,3]})",
           R"({"op":"slice","name":"slice","inputs":[22],"outputs":[23],"axis":1,"start":1,)"
           R"("stop":12,"step":4})",
           R"({"op":"slice","name":"batch_slice","inputs":[23],"outputs":[24],"axis":0,"start":0,)"
           R"("stop":[1,0],"step":1})",
           R"({"op":"permute","name":"permute","inputs":[24],"outputs":[25],"axes":[0,2,3,1]})",
           R"({"op":"reshape","name":"flatten","inputs":[25],"outputs":[26],)"
           R"("shape":[[2,0],324]})",
           R"({"op":"linear","name":"fc","inputs":[26],"outputs":[27],"weight":"fc.weight",)"
           R"("weight_format":"s4","weight_shape":[5,324],"multiplier":"fc.multiplier",)"
           R"("bias":"fc.bias"})",
           R"({"op":"constant","name":"mask","inputs":[],"outputs":[28],"tensor":"mask"})",
           R"({"op":"aten","name":"masked_fill","inputs":[27,28],"outputs":[30],)"
           R"("schema":"aten::masked_fill.Scalar","arguments":[{"input":0},{"input":1},)"
           R"({"float":"-inf"},null,true,0.3333333333333333,2.0,-0.0,{"string":"none \"é"},)"
           R"({"batch":[3,-1]},-7,[[],4,{"batch":[2,0]}]]})",
       }) {
    EXPECT_NE(text.find(node), std::string::npos) << node << "\nnot in\n" << text;
  }
}

TEST(GraphJson, ValuesAndListsReadAsTheSpecificationSays) {
  const EncodedGraph encoded = encode(every_operator(), "m");
  EXPECT_EQ(encoded.json.rfind(R"({"values":[{"name":"image","type":"float32",)"
                               R"("shape":[[1,0],3,8,8]},{"name":"image.codes","type":"codes",)"
                               R"("shape":[[1,0],3,8,8],"scale":0,"zero_point":128,"format":"u8"})",
                               0),
            0u)
      << encoded.json;
  EXPECT_NE(encoded.json.find(R"("inputs":[0],"outputs":[16,18,19,30,29],)"
                              R"("output_names":["mul","sigmoid","gelu","masked","ids"]})"),
            std::string::npos);
  EXPECT_EQ(encoded.scales, (std::vector<float>{0.1f, 0.25f, 0.5f, 0.2f}));
}

TEST(GraphJson, DecodingInvertsEncoding) {
  Model model = every_operator(5);
  const EncodedGraph encoded = encode(model, "m");
  const DecodedGraph decoded = decode(encoded.json, encoded.scales, "m: graph");
  model.graph = decoded.graph;
  EXPECT_EQ(encode(model, "m").json, encoded.json);
  EXPECT_EQ(decoded.weights.size(), 3u);
  EXPECT_EQ(decoded.weights.at("up.weight").shape, (std::vector<int64_t>{4, 3, 2, 2}));
  EXPECT_EQ(decoded.weights.at("up.weight").format, (numerics::IntFormat{5, true, false}));
}

// ---- what is refused: one change to a correct graph -------------------------------------------

std::string refusal(const std::function<void(json&)>& change) {
  const EncodedGraph encoded = encode(every_operator(), "m");
  json graph = json::parse(encoded.json);
  change(graph);
  return message_of([&] { decode(graph.dump(), encoded.scales, "f: graph"); });
}

json& node(json& graph, const std::string& name) {
  for (json& node : graph["nodes"]) {
    if (node["name"] == name) return node;
  }
  throw std::logic_error("no node " + name);
}

TEST(GraphJson, RefusesUnknownAndMissingKeys) {
  EXPECT_EQ(refusal([](json& g) { g["extra"] = 1; }), "f: graph: unknown key 'extra'");
  EXPECT_EQ(refusal([](json& g) { g.erase("inputs"); }), "f: graph: key 'inputs' is missing");
  EXPECT_EQ(refusal([](json& g) { g["values"][1]["extra"] = 1; }),
            "f: graph: values[1]: unknown key 'extra'");
  EXPECT_EQ(refusal([](json& g) { g["values"][1].erase("format"); }),
            "f: graph: values[1]: key 'format' is missing");
  EXPECT_EQ(refusal([](json& g) { g["values"][0]["scale"] = 0; }),
            "f: graph: values[0]: unknown key 'scale'");
  EXPECT_EQ(refusal([](json& g) { g["nodes"][0]["axis"] = 1; }),
            "f: graph: nodes[0]: unknown key 'axis'");
  const size_t nodes = json::parse(encode(every_operator(), "m").json)["nodes"].size();
  for (size_t i = 0; i < nodes; ++i) {
    const json graph = json::parse(encode(every_operator(), "m").json);
    for (const auto& entry : graph["nodes"][i].items()) {
      EXPECT_EQ(refusal([&](json& g) { g["nodes"][i].erase(entry.key()); }),
                "f: graph: nodes[" + std::to_string(i) + "]: key '" + entry.key() + "' is missing");
    }
  }
}

TEST(GraphJson, RefusesUnknownSpellings) {
  EXPECT_EQ(refusal([](json& g) { g["nodes"][1]["op"] = "conv9d"; }),
            "f: graph: nodes[1]: op: unknown operator 'conv9d'");
  EXPECT_EQ(refusal([](json& g) { g["values"][0]["type"] = "float64"; }),
            "f: graph: values[0]: type: unknown type 'float64'");
  EXPECT_EQ(refusal([](json& g) { g["values"][1]["format"] = "u9"; }),
            "f: graph: values[1]: format: format u2..u8, s2..s8 or n2..n8 expected, got \"u9\"");
  EXPECT_EQ(refusal([](json& g) { node(g, "relu6")["kind"] = "none"; }),
            "f: graph: nodes[2]: kind: unknown activation 'none'");
}

TEST(GraphJson, RefusesWrongTypes) {
  EXPECT_EQ(refusal([](json& g) { g["nodes"] = 1; }), "f: graph: nodes: list expected, got 1");
  EXPECT_EQ(refusal([](json& g) { g["nodes"][0] = "x"; }),
            "f: graph: nodes[0]: object expected, got \"x\"");
  EXPECT_EQ(refusal([](json& g) { g["inputs"] = {0.5}; }),
            "f: graph: inputs[0]: integer expected, got 0.5");
  EXPECT_EQ(refusal([](json& g) { g["output_names"] = {1}; }),
            "f: graph: output_names: string expected, got 1");
  EXPECT_EQ(refusal([](json& g) { node(g, "conv1")["groups"] = 1.0; }),
            "f: graph: nodes[1]: groups: integer expected, got 1.0");
  EXPECT_EQ(refusal([](json& g) { node(g, "conv1")["transposed"] = 0; }),
            "f: graph: nodes[1]: transposed: true or false expected, got 0");
  EXPECT_EQ(refusal([](json& g) { node(g, "conv1")["weight"] = nullptr; }),
            "f: graph: nodes[1]: weight: string expected, got null");
  EXPECT_EQ(refusal([](json& g) { node(g, "conv1")["bias"] = ""; }),
            "f: graph: nodes[1]: bias: the name of a tensor is empty");
  EXPECT_EQ(refusal([](json& g) { node(g, "relu6")["p0"] = "0"; }),
            "f: graph: nodes[2]: p0: number expected, got \"0\"");
  EXPECT_EQ(refusal([](json& g) { node(g, "relu6")["p0"] = 1e39; }),
            "f: graph: nodes[2]: p0: number within the range of float32 expected, got 1e+39");
  EXPECT_EQ(refusal([](json& g) { node(g, "pad")["code"] = int64_t{1} << 32; }),
            "f: graph: nodes[20]: code: integer of 32 bits expected, got 4294967296");
}

TEST(GraphJson, RefusesWrongSizes) {
  EXPECT_EQ(refusal([](json& g) { g["values"][0]["shape"] = 3; }),
            "f: graph: values[0]: shape: list of sizes expected, got 3");
  EXPECT_EQ(refusal([](json& g) { g["values"][0]["shape"][1] = "3"; }),
            "f: graph: values[0]: shape[1]: integer or [a, c] expected, got \"3\"");
  EXPECT_EQ(refusal([](json& g) {
              g["values"][0]["shape"][0] = {0, 3};
            }),
            "f: graph: values[0]: shape[0]: [a, c] for a*B + c with a not 0 expected, got [0,3]");
  EXPECT_EQ(refusal([](json& g) { g["values"][0]["shape"][0] = {1}; }),
            "f: graph: values[0]: shape[0]: [a, c] for a*B + c with a not 0 expected, got [1]");
}

TEST(GraphJson, RefusesWrongScaleIndices) {
  EXPECT_EQ(refusal([](json& g) { g["values"][1]["scale"] = 4; }),
            "f: graph: values[1]: scale: index must be below 4, the length of activation_scales, "
            "got 4");
  EXPECT_EQ(refusal([](json& g) { g["values"][1]["scale"] = -1; }),
            "f: graph: values[1]: scale: index must be below 4, the length of activation_scales, "
            "got -1");
  const EncodedGraph encoded = encode(every_operator(), "m");
  std::vector<float> scales = encoded.scales;
  scales.push_back(1.0f);
  EXPECT_EQ(message_of([&] { decode(encoded.json, scales, "f: graph"); }),
            "f: graph: no value uses activation_scales[4]");
}

TEST(GraphJson, RefusesWrongArguments) {
  const std::string place = "f: graph: nodes[29]: arguments";
  const auto first = [](json value) {
    return refusal([&](json& g) { node(g, "masked_fill")["arguments"][0] = value; });
  };
  ASSERT_EQ(node_json(json::parse(encode(every_operator(), "m").json), "masked_fill"),
            json::parse(encode(every_operator(), "m").json)["nodes"][29]);
  EXPECT_EQ(first("text"), place +
                               "[0]: argument (a string is {\"string\": ...}) expected, got "
                               "\"text\"");
  EXPECT_EQ(first({{"output", 1}}), place +
                                        "[0]: object with the one key 'input', 'batch', "
                                        "'string' or 'float' expected, got {\"output\":1}");
  EXPECT_EQ(first({{"input", 1}, {"batch", 2}}).rfind(place + "[0]: object with the one key", 0),
            0u);
  EXPECT_EQ(first({{"input", "0"}}), place + "[0]: input: integer expected, got \"0\"");
  EXPECT_EQ(first({{"batch", {0, 1}}}),
            place + "[0]: batch: [a, c] for a*B + c with a not 0 expected, got [0,1]");
  EXPECT_EQ(first({{"float", "1.0"}}),
            place + "[0]: float: 'inf', '-inf' or 'nan' expected, got \"1.0\"");
  EXPECT_EQ(refusal([](json& g) { node(g, "masked_fill")["arguments"] = 1; }),
            place + ": list of arguments expected, got 1");
}

TEST(GraphJson, RefusesTwoLayoutsOfOneWeight) {
  EXPECT_EQ(refusal([](json& g) { node(g, "up")["weight"] = "conv1.weight"; }),
            "f: graph: nodes[7]: weight: two nodes give weight 'conv1.weight' different formats or "
            "shapes");
}

}  // namespace
}  // namespace qat::graph
