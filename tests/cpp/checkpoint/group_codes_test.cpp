// Weights stored in groups: the form of docs/format.md, and what the reader refuses.

#include "checkpoint/group_codes.h"

#include <gtest/gtest.h>

#include <random>

#include "checkpoint/checkpoint.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/signed_bytes.h"
#include "graph/expect_error.h"
#include "graph/models.h"
#include "numerics/weight_groups.h"

namespace qat::checkpoint {
namespace {

using safetensors::Entry;
using safetensors::File;
using testing::message_of;

constexpr int64_t kRows = 5, kRowSize = 324;  // of "fc"
constexpr size_t kLimit = size_t{1} << 30;

struct Spec {
  int bits;
  int64_t group;
  int largest_step;
  bool zero_points;
};

// Codes step * (q - zero_point) with steps and zero points of their own for each group.
std::vector<std::byte> grouped(const Spec& spec, int64_t rows, int64_t row_size) {
  std::mt19937 random(7);
  const auto below = [&](int end) {
    return static_cast<int>(random() % static_cast<unsigned>(end));
  };
  const int highest = spec.zero_points ? (1 << spec.bits) - 1 : (1 << (spec.bits - 1)) - 1;
  std::vector<std::byte> codes;
  for (int64_t row = 0; row < rows; ++row) {
    int step = 1, zero_point = 0;
    for (int64_t i = 0; i < row_size; ++i) {
      if (i % spec.group == 0) {
        step = 1 + below(spec.largest_step);
        zero_point = spec.zero_points ? below(highest + 1) : highest + 1;
      }
      const int q = below(spec.zero_points ? highest + 1 : 2 * highest + 2);
      codes.push_back(static_cast<std::byte>(step * (q - zero_point)));
    }
  }
  return codes;
}

graph::Model model_with(const std::vector<std::byte>& codes) {
  graph::Model model = testing::every_operator(8);
  model.tensors.at("fc.weight").bytes = codes;
  return model;
}

const Spec kPlain{4, 30, 15, false}, kAffine{4, 30, 8, true};

std::string refusal(const Spec& spec, const std::function<void(File&)>& change) {
  File file = safetensors::parse(serialize(model_with(grouped(spec, kRows, kRowSize))), "f");
  change(file);
  const std::string bytes = signed_bytes(file);
  return message_of([&] { parse(bytes, "f"); });
}

TEST(GroupCodes, ComeBackToTheBit) {
  for (const Spec& spec : {Spec{2, 32, 63, false}, Spec{3, 16, 31, false}, Spec{4, 64, 15, false},
                           Spec{2, 16, 42, true}, Spec{4, 32, 8, true}, Spec{5, 100, 4, true},
                           Spec{7, 1000, 1, true}, Spec{6, 324, 2, true}}) {
    for (const int64_t row_size : {int64_t{324}, int64_t{147}, int64_t{1000}}) {
      const int64_t size = numerics::group_layout(row_size, spec.group).size;
      Spec even = spec;
      even.group = size;
      const auto codes = grouped(even, kRows, row_size);
      const auto made = encode_groups(codes, kRows, kLimit);
      ASSERT_TRUE(made) << spec.bits << " " << spec.group;
      EXPECT_EQ(expand_groups(*made, row_size).codes, codes) << spec.bits << " " << row_size;
    }
  }
}

TEST(GroupCodes, TakeNoMoreThanTheirGroupsDo) {
  // 20 groups of at most 256 codes: 4 bits each and one byte per group.
  const auto codes = grouped({4, 64, 15, false}, 64, 1280);
  const auto made = encode_groups(codes, 64, kLimit);
  ASSERT_TRUE(made);
  EXPECT_EQ(made->groups, 20);
  EXPECT_EQ(made->format, (numerics::IntFormat{4, true, false}));
  EXPECT_EQ(made->packed.size(), codes.size() / 2);
  EXPECT_TRUE(made->zero_points.empty());
  EXPECT_FALSE(encode_groups(codes, 64, size_of(*made)));
  EXPECT_TRUE(encode_groups(codes, 64, size_of(*made) + 1));
}

TEST(GroupCodes, OrdinaryWeightsHaveNone) {
  std::vector<std::byte> codes;
  for (int i = 0; i < kRows * kRowSize; ++i) {
    codes.push_back(static_cast<std::byte>(i % 255 - 127));
  }
  EXPECT_FALSE(encode_groups(codes, kRows, kLimit));
  EXPECT_FALSE(encode_groups(std::vector<std::byte>(7), 1, kLimit));
  EXPECT_FALSE(encode_groups({}, 0, kLimit));
  const File file = safetensors::parse(serialize(model_with(codes)), "f");
  EXPECT_EQ(file.tensors.at("fc.weight").dtype, "I8");
}

TEST(GroupCodes, ThroughTheFile) {
  for (const Spec& spec : {kPlain, kAffine}) {
    const graph::Model model = model_with(grouped(spec, kRows, kRowSize));
    const std::string bytes = serialize(model);
    const File file = safetensors::parse(bytes, "f");
    EXPECT_EQ(file.tensors.at("fc.weight").bytes.size(), static_cast<size_t>(kRows * kRowSize / 2));
    EXPECT_EQ(file.tensors.at("fc.weight.step").dtype, "U8");
    EXPECT_EQ(file.tensors.count("fc.weight.zero_point"), spec.zero_points ? 1u : 0u);
    const graph::Model reloaded = parse(bytes, "f");
    EXPECT_EQ(reloaded.tensors.at("fc.weight").bytes, model.tensors.at("fc.weight").bytes);
    EXPECT_EQ(reloaded.tensors.count("fc.weight.step"), 0u);
    EXPECT_EQ(serialize(reloaded), bytes) << "the same model gives the same file";
  }
}

TEST(GroupCodes, BitsFollowFromTheSize) {
  for (int bits = 2; bits <= 7; ++bits) {
    for (int64_t count = 8; count < 200; ++count) {
      EXPECT_EQ(bits_of(static_cast<size_t>((count * bits + 7) / 8), count), bits) << count;
    }
  }
  EXPECT_EQ(bits_of(100, 100), 0);
  EXPECT_EQ(bits_of(10, 100), 0);
  EXPECT_EQ(bits_of(4, 7), 0);
}

TEST(GroupCodes, Refusals) {
  const std::string place = "f: tensor 'fc.weight': ";
  const auto weight = [](File& f) -> Entry& { return f.tensors.at("fc.weight"); };
  const auto step = [](File& f) -> Entry& { return f.tensors.at("fc.weight.step"); };
  const auto zero_point = [](File& f) -> Entry& { return f.tensors.at("fc.weight.zero_point"); };
  EXPECT_EQ(refusal(kPlain, [&](File& f) { step(f).dtype = "I8"; }),
            place + "its steps must be U8 [5, groups] with 1 to 324 groups, got I8 [5, 11]");
  EXPECT_EQ(refusal(kPlain, [&](File& f) { step(f).shape = {55}; }),
            place + "its steps must be U8 [5, groups] with 1 to 324 groups, got U8 [55]");
  EXPECT_EQ(refusal(kPlain, [&](File& f) { step(f).bytes[3] = 0; }),
            place + "its steps are 1 to 127, got 0");
  EXPECT_EQ(refusal(kAffine, [&](File& f) { zero_point(f).bytes[3] = 16; }),
            place + "its zero points are 0 to 15, got 16");
  EXPECT_EQ(refusal(kAffine, [&](File& f) { f.tensors.erase("fc.weight.step"); }),
            place + "zero points need steps; 'fc.weight.step' is missing");
  EXPECT_EQ(refusal(kAffine,
                    [&](File& f) {
                      zero_point(f).shape = {5, 1};
                      zero_point(f).bytes.resize(5);
                    }),
            place + "its zero points must have the shape of its steps, [5, 11], got [5, 1]");
  EXPECT_EQ(
      refusal(kPlain,
              [&](File& f) {
                weight(f).bytes += '\0';
                ++weight(f).shape[0];
              }),
      place + "groups of 4 bits and weight_shape [5, 324] are packed as U8 [810], got U8 [811]");
  EXPECT_EQ(refusal(kPlain,
                    [&](File& f) {
                      weight(f) = {"U8", {1620}, std::string(1620, '\0')};
                    }),
            place + "weight_shape [5, 324] in groups takes 2 to 7 bits each, got 1620 bytes");
  EXPECT_EQ(refusal(kPlain,
                    [&](File& f) {
                      f.tensors["fc.weight.codebook"] = {"I8", {1}, std::string(1, '\0')};
                    }),
            place + "has a codebook or groups, not both");
  EXPECT_EQ(refusal(kPlain,
                    [&](File& f) {
                      std::fill(step(f).bytes.begin(), step(f).bytes.end(), '\x7f');
                      weight(f).bytes[0] = '\x02';
                    }),
            place + "step times code is 254 at element 0; expected -127 to 127");
}

TEST(GroupCodes, NoGroupIsEmpty) {
  EXPECT_EQ(refusal(kPlain,
                    [](File& f) {
                      Entry& step = f.tensors.at("fc.weight.step");
                      step.shape = {5, 200};
                      step.bytes = std::string(1000, '\x01');
                    }),
            "f: tensor 'fc.weight': rows of 324 codes in groups of 2 have 162 groups, got steps "
            "for 200");
}

}  // namespace
}  // namespace qat::checkpoint
