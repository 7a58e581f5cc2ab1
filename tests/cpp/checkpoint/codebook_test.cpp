// Weights with few distinct codes: the form of docs/format.md, and what the reader refuses.

#include "checkpoint/codebook.h"

#include <gtest/gtest.h>

#include "checkpoint/checkpoint.h"
#include "checkpoint/packing.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/signed_bytes.h"
#include "graph/expect_error.h"
#include "graph/models.h"

namespace qat::checkpoint {
namespace {

using safetensors::Entry;
using safetensors::File;
using testing::message_of;

constexpr int64_t kWeights = 5 * 324;  // of "fc"

// every_operator with the codes of "fc" taken in turn from `book`.
graph::Model clustered(const std::vector<int8_t>& book, int bits) {
  graph::Model model = testing::every_operator(bits);
  auto* codes = model.tensors.at("fc.weight").data<int8_t>();
  for (int64_t i = 0; i < kWeights; ++i) codes[i] = book[static_cast<size_t>(i) % book.size()];
  return model;
}

std::vector<int8_t> ascending(int count, int from = -3) {
  std::vector<int8_t> book;
  for (int i = 0; i < count; ++i) book.push_back(static_cast<int8_t>(from + i));
  return book;
}

std::string refusal(const std::function<void(Entry& weight, Entry& codebook)>& change) {
  File file = safetensors::parse(serialize(clustered({-7, 0, 5}, 8)), "f");
  change(file.tensors.at("fc.weight"), file.tensors.at("fc.weight.codebook"));
  const std::string bytes = signed_bytes(file);
  return message_of([&] { parse(bytes, "f"); });
}

TEST(Codebook, IndicesTakeTheFewestBits) {
  const std::vector<std::pair<size_t, int>> expected = {{1, 1}, {2, 1},  {3, 2},  {4, 2},
                                                        {5, 3}, {16, 4}, {17, 5}, {128, 7}};
  for (const auto& [size, bits] : expected) EXPECT_EQ(index_bits(size), bits) << size;
}

TEST(Codebook, ComesBackToTheBit) {
  for (const int count : {1, 2, 3, 4, 7, 16, 33, 60}) {
    const graph::Model model = clustered(ascending(count), 8);
    const std::string bytes = serialize(model);
    const File file = safetensors::parse(bytes, "f");
    const size_t bits = index_bits(static_cast<size_t>(count));
    EXPECT_EQ(file.tensors.at("fc.weight").dtype, "U8");
    EXPECT_EQ(file.tensors.at("fc.weight").bytes.size(), (kWeights * bits + 7) / 8) << count;
    EXPECT_EQ(file.tensors.at("fc.weight.codebook").shape, std::vector<int64_t>{count});
    const graph::Model reloaded = parse(bytes, "f");
    EXPECT_EQ(reloaded.tensors.at("fc.weight").bytes, model.tensors.at("fc.weight").bytes);
    EXPECT_EQ(reloaded.tensors.at("fc.weight").shape, (std::vector<int64_t>{5, 324}));
    EXPECT_EQ(reloaded.tensors.count("fc.weight.codebook"), 0u);
    EXPECT_EQ(serialize(reloaded), bytes) << "the same model gives the same file";
  }
}

TEST(Codebook, BelowEightBitsToo) {
  // Two of the four codes of 2 bits need one bit each.
  const graph::Model model = clustered({-1, 1}, 2);
  const std::string bytes = serialize(model);
  EXPECT_EQ(safetensors::parse(bytes, "f").tensors.at("fc.weight").bytes.size(),
            static_cast<size_t>((kWeights + 7) / 8));
  EXPECT_EQ(parse(bytes, "f").tensors.at("fc.weight").bytes, model.tensors.at("fc.weight").bytes);
}

TEST(Codebook, OnlyWhereTheFileGetsSmaller) {
  // 100 codes save a bit each, less than a codebook of them takes; 130 need 8 bits.
  const File hundred = safetensors::parse(serialize(clustered(ascending(100, -50), 8)), "f");
  EXPECT_EQ(hundred.tensors.count("fc.weight.codebook"), 0u);
  const File many = safetensors::parse(serialize(clustered(ascending(130, -64), 8)), "f");
  EXPECT_EQ(many.tensors.at("fc.weight").dtype, "I8");
  EXPECT_EQ(many.tensors.count("fc.weight.codebook"), 0u);
  // 3 of 4 codes: no fewer bits.
  const File three = safetensors::parse(serialize(clustered({-1, 0, 1}, 2)), "f");
  EXPECT_EQ(three.tensors.count("fc.weight.codebook"), 0u);
  // A file with a codebook is smaller than the same file without.
  EXPECT_LT(serialize(clustered(ascending(60), 8)).size(),
            serialize(clustered(ascending(130, -64), 8)).size());
}

TEST(Codebook, Refusals) {
  const std::string place = "f: tensor 'fc.weight': ";
  EXPECT_EQ(refusal([](Entry&, Entry& c) { c.dtype = "U8"; }),
            place + "its codebook must be I8 [n], got U8 [3]");
  EXPECT_EQ(refusal([](Entry&, Entry& c) {
              c.shape = {1, 3};
            }),
            place + "its codebook must be I8 [n], got I8 [1, 3]");
  EXPECT_EQ(refusal([](Entry&, Entry& c) {
              c.bytes = {'\xf9', 5, 0};
            }),
            place + "the codes of a codebook ascend, got 0 after 5");
  EXPECT_EQ(refusal([](Entry&, Entry& c) {
              c.bytes = {'\xf9', 5, 5};
            }),
            place + "the codes of a codebook ascend, got 5 after 5");
  EXPECT_EQ(refusal([](Entry&, Entry& c) {
              c = {"I8", {0}, ""};
            }),
            place + "a codebook has 1 to 128 codes, got 0");
  EXPECT_EQ(refusal([](Entry&, Entry& c) {
              c = {"I8", {129}, std::string(129, 'a')};
            }),
            place + "a codebook has 1 to 128 codes, got 129");
  EXPECT_EQ(refusal([](Entry& w, Entry&) { w.bytes[0] |= 3; }),
            place + "an index must be below 3, the length of the codebook, got 3");
  EXPECT_EQ(refusal([](Entry& w, Entry&) { w.bytes.assign(w.bytes.size(), '\0'); }),
            place + "no index is 1; remove the code");
  EXPECT_EQ(refusal([](Entry& w, Entry&) {
              w.bytes += '\0';
              ++w.shape[0];
            }),
            place +
                "indices into a codebook of 3 and weight_shape [5, 324] are packed as U8 "
                "[405], got U8 [406]");
  EXPECT_EQ(refusal([](Entry& w, Entry&) { w.dtype = "I8"; }),
            place +
                "indices into a codebook of 3 and weight_shape [5, 324] are packed as U8 "
                "[405], got I8 [405]");
  // -128 is no code of the narrow format that 8-bit weights have.
  EXPECT_EQ(refusal([](Entry&, Entry& c) { c.bytes[0] = '\x80'; }),
            "f: node 26 'fc' (linear): weight 'fc.weight' must hold codes of n8, got -128 at "
            "element 0");
}

TEST(Codebook, UnusedBits) {
  graph::Model model = testing::every_operator(8);
  const std::vector<std::byte> codes(1001, std::byte{5});
  auto book = encode_codebook(codes, numerics::kInt8Narrow);
  ASSERT_TRUE(book);
  EXPECT_EQ(book->indices.size(), 126u);
  EXPECT_EQ(expand_codebook(book->codes, book->indices, 1001).codes, codes);
  book->indices.back() = 2;
  EXPECT_EQ(expand_codebook(book->codes, book->indices, 1001).failure,
            "the unused bits of the last byte must be zero");
}

TEST(Codebook, ItsNameIsReserved) {
  graph::Model model = testing::every_operator(8);
  graph::Node& fc = testing::node_named(model, "fc");
  auto& linear = std::get<graph::LinearAttributes>(fc.attributes);
  model.tensors["fc.weight.codebook"] = model.tensors.at(linear.bias);
  model.tensors.erase(linear.bias);
  linear.bias = "fc.weight.codebook";
  EXPECT_EQ(message_of([&] { serialize(model); }),
            "model: tensor 'fc.weight.codebook': the name is reserved for a form of that "
            "weight; rename the tensor");
}

TEST(Codebook, EveryFlippedBitIsNoticed) {
  std::string bytes = serialize(clustered({-7, 0, 5}, 8));
  for (size_t i = bytes.size() - 500; i < bytes.size(); ++i) {
    bytes[i] = static_cast<char>(bytes[i] ^ 1);
    EXPECT_NE(message_of([&] { parse(bytes, "f"); }), "") << i;
    bytes[i] = static_cast<char>(bytes[i] ^ 1);
  }
}

}  // namespace
}  // namespace qat::checkpoint
