// Rules that only the whole file knows. The files carry a right digest, so that the rule itself
// has to fire.

#include <cstring>
#include <nlohmann/json.hpp>

#include "checkpoint/checkpoint.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/signed_bytes.h"
#include "graph/expect_error.h"
#include "graph/models.h"

namespace qat::checkpoint {
namespace {

using nlohmann::json;
using safetensors::File;
using testing::message_of;

File tiny_file() { return safetensors::parse(serialize(testing::tiny_model()), "tiny"); }

std::string refusal(const std::function<void(File&)>& change) {
  File file = tiny_file();
  change(file);
  const std::string bytes = signed_bytes(file);
  return message_of([&] { parse(bytes, "f"); });
}

std::string graph_refusal(const std::function<void(json&)>& change) {
  return refusal([&](File& file) {
    json graph = json::parse(file.metadata["graph"]);
    change(graph);
    file.metadata["graph"] = graph.dump();
  });
}

TEST(Rejection, TheUnchangedFileLoads) { EXPECT_NO_THROW(parse(signed_bytes(tiny_file()), "f")); }

TEST(Rejection, Metadata) {
  for (const char* key : {"format", "graph", "numerics", "provenance"}) {
    EXPECT_EQ(refusal([&](File& f) { f.metadata.erase(key); }),
              "f: __metadata__: key '" + std::string(key) +
                  "' is missing; is this a checkpoint of qat_ext?");
  }
  File file = tiny_file();
  file.metadata.erase("sha256");
  EXPECT_EQ(message_of([&] { parse(safetensors::serialize(file), "f"); }),
            "f: __metadata__: key 'sha256' is missing; is this a checkpoint of qat_ext?");
  EXPECT_EQ(refusal([](File& f) { f.metadata["extra"] = ""; }),
            "f: __metadata__: unknown key 'extra'");
}

TEST(Rejection, Versions) {
  EXPECT_EQ(refusal([](File& f) { f.metadata["format"] = "qat_ext/2"; }),
            "f: __metadata__: format must be 'qat_ext/1', got 'qat_ext/2'; this version of qat_ext "
            "reads no other");
  EXPECT_EQ(refusal([](File& f) { f.metadata["numerics"] = "2"; }),
            "f: __metadata__: numerics must be '1', got '2'; this version of qat_ext reads no "
            "other");
}

TEST(Rejection, Digest) {
  File file = tiny_file();
  const std::string rule = "f: __metadata__: sha256: ";
  for (const std::string& digest :
       {std::string(), std::string(63, 'a'), std::string(65, 'a'), std::string(64, 'A')}) {
    file.metadata["sha256"] = digest;
    EXPECT_EQ(message_of([&] {
                parse(safetensors::serialize(file), "f");
              }).rfind(rule + "64 lower-case hexadecimal digits expected, got '", 0),
              0u);
  }
  file.metadata["sha256"] = std::string(64, 'a');
  EXPECT_EQ(message_of([&] { parse(safetensors::serialize(file), "f"); })
                .rfind(rule + "the file is damaged: it says " + std::string(64, 'a') +
                           ", its bytes give ",
                       0),
            0u);
}

TEST(Rejection, DigestWithEscapes) {
  std::string bytes = signed_bytes(tiny_file());
  // "sha256":"X... becomes "sha256":"\u00XX..., eight bytes longer with the padding.
  const size_t digit = bytes.find("\"sha256\":\"") + 10;
  char escape[8];
  std::snprintf(escape, sizeof escape, "\\u%04x", static_cast<unsigned>(bytes[digit]));
  bytes.replace(digit, 1, escape);
  uint64_t length = 0;
  std::memcpy(&length, bytes.data(), 8);
  length += 5;
  const size_t padding = (8 - length % 8) % 8;
  bytes.insert(8 + length, padding, ' ');
  length += padding;
  std::memcpy(bytes.data(), &length, 8);
  EXPECT_EQ(message_of([&] { parse(bytes, "f"); }),
            "f: __metadata__: sha256: the digits must stand in the header without escapes");
}

TEST(Rejection, Provenance) {
  EXPECT_EQ(refusal([](File& f) { f.metadata["provenance"] = "[]"; }),
            "f: provenance: JSON object expected, it must begin with '{'");
  EXPECT_EQ(refusal([](File& f) { f.metadata["provenance"] = R"({"seed": 1})"; }),
            "f: provenance: 'seed': string expected, got 1");
  EXPECT_EQ(refusal([](File& f) { f.metadata["provenance"] = R"({"a": "1", "a": "2"})"; }),
            "f: provenance: key 'a' stands twice in one object");
}

TEST(Rejection, GraphText) {
  EXPECT_EQ(refusal([](File& f) { f.metadata["graph"] = "{}"; }),
            "f: graph: key 'values' is missing");
  EXPECT_EQ(refusal([](File& f) { f.metadata["graph"].insert(1, R"("inputs":[0],)"); }),
            "f: graph: key 'inputs' stands twice in one object");
  EXPECT_EQ(graph_refusal([](json& g) { g["nodes"][1]["op"] = "conv9"; }),
            "f: graph: nodes[1]: op: unknown operator 'conv9'");
}

TEST(Rejection, SharedRulesAreChecked) {
  EXPECT_EQ(graph_refusal([](json& g) { g["values"][1]["zero_point"] = 16; }),
            "f: value 1 'q': zero point must be a code of u4, 0 to 15, got 16");
  EXPECT_EQ(graph_refusal([](json& g) { g["outputs"][0] = 9; }),
            "f: graph outputs: index of a value must be below 4, got 9");
  EXPECT_EQ(graph_refusal([](json& g) { g["nodes"][1]["bias"] = "conv.bios"; }),
            "f: node 1 'conv' (conv): bias: there is no tensor 'conv.bios'");
  EXPECT_EQ(refusal([](File& f) {
              f.tensors["spare"] = {"U8", {1}, "a"};
            }),
            "f: tensor 'spare': no node uses it; remove it");
  EXPECT_EQ(refusal([](File& f) { f.tensors["conv.bias"].bytes = std::string("\0\0\xc0\x7f", 4); }),
            "f: node 1 'conv' (conv): bias 'conv.bias' must be finite, got nan at [0]");
}

TEST(Rejection, Scales) {
  const std::string rule = "f: tensor 'activation_scales': F32 [n] with n > 0 expected, got ";
  EXPECT_EQ(refusal([](File& f) {
              f.tensors["activation_scales"] = {"I8", {4}, "abcd"};
            }),
            rule + "I8 [4]");
  EXPECT_EQ(refusal([](File& f) {
              f.tensors["activation_scales"].shape = {1, 1};
            }),
            rule + "F32 [1, 1]");
  EXPECT_EQ(refusal([](File& f) {
              f.tensors["activation_scales"] = {"F32", {0}, ""};
            }),
            rule + "F32 [0]");
  EXPECT_EQ(refusal([](File& f) { f.tensors.erase("activation_scales"); }),
            "f: graph: values[1]: scale: index must be below 0, the length of activation_scales, "
            "got 0");
  EXPECT_EQ(refusal([](File& f) { f.tensors["activation_scales"].bytes = std::string(4, '\0'); }),
            "f: value 1 'q': scale must be 2^-40 to 2^100, got 0.000000");
}

TEST(Rejection, PackedWeights) {
  const std::string rule =
      "f: tensor 'conv.weight': codes of s4 and weight_shape [1, 1, 3] are packed as U8 [2], got ";
  EXPECT_EQ(refusal([](File& f) {
              f.tensors["conv.weight"] = {"U8", {3}, "abc"};
            }),
            rule + "U8 [3]");
  EXPECT_EQ(refusal([](File& f) { f.tensors["conv.weight"].dtype = "I8"; }), rule + "I8 [2]");
  EXPECT_EQ(refusal([](File& f) { f.tensors["conv.weight"].shape = {2, 1}; }), rule + "U8 [2, 1]");
  EXPECT_EQ(refusal([](File& f) { f.tensors["conv.weight"].bytes[1] = '\x10'; }),
            "f: tensor 'conv.weight': the unused bits of the last byte must be zero");
  EXPECT_EQ(
      graph_refusal([](json& g) {
        g["nodes"][1]["weight_shape"] = {1, 1, -3};
      }),
      "f: tensor 'conv.weight': codes of s4 and weight_shape [1, 1, -3] are packed as U8 [?], "
      "got U8 [2]");
  EXPECT_EQ(graph_refusal([](json& g) {
              g["nodes"][1]["weight_shape"] = {int64_t{1} << 40, int64_t{1} << 40, 1};
            }),
            "f: tensor 'conv.weight': codes of s4 and weight_shape [1099511627776, 1099511627776, "
            "1] are packed as U8 [?], got U8 [2]");
}

TEST(Rejection, PlainWeights) {
  File file = safetensors::parse(serialize(testing::every_operator(8)), "every");
  json graph = json::parse(file.metadata["graph"]);
  for (json& node : graph["nodes"]) {
    if (node["name"] == "fc") node["weight_shape"] = {324, 5};
  }
  file.metadata["graph"] = graph.dump();
  EXPECT_EQ(message_of([&] { parse(signed_bytes(file), "f"); }),
            "f: tensor 'fc.weight': weight_shape must be that of the tensor, [5, 324], got [324, "
            "5]");
}

TEST(Rejection, Dtypes) {
  EXPECT_EQ(refusal([](File& f) { f.tensors["conv.bias"].dtype = "I32"; }),
            "f: tensor 'conv.bias': dtype must be I8, U8, F32, I64 or BOOL, got I32");
}

}  // namespace
}  // namespace qat::checkpoint
