#include "train/tensor_file.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "checkpoint/safetensors.h"
#include "error.h"

namespace qat::train {
namespace {

template <typename Call>
std::string message(Call call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(TensorFile, KeepsEveryTypeShapeAndBit) {
  const std::string path = testing::TempDir() + "/tensors.safetensors";
  const NamedTensors tensors = {{"a", at::rand({2, 3}).t()},
                                {"b", at::scalar_tensor(7, at::kLong)},
                                {"c", at::tensor({1, 2}, at::kByte)},
                                {"d", at::tensor({1, 0}).to(at::kBool)}};
  save_tensors(path, tensors, {{"format", "pt"}});
  const TensorFile file = load_tensors(path);
  EXPECT_EQ(file.metadata.at("format"), "pt");
  ASSERT_EQ(file.tensors.size(), tensors.size());
  for (size_t i = 0; i < tensors.size(); ++i) {
    EXPECT_EQ(file.tensors[i].first, tensors[i].first);
    EXPECT_TRUE(at::equal(file.tensors[i].second, tensors[i].second));
  }
}

TEST(TensorFile, NamesAFileWhoseBytesWereChanged) {
  const std::string path = testing::TempDir() + "/damaged.safetensors";
  save_tensors(path, {{"a", at::ones({2})}}, {{"format", "pt"}});
  std::string bytes = safetensors::read_file(path);
  bytes.back() ^= 1;
  safetensors::write_file(path, bytes);
  const std::string found = message([&] { load_tensors(path, "REMEDY"); });
  EXPECT_EQ(found.substr(0, found.find(" it says ")),
            path + ": __metadata__: qat_ext.sha256: the file is damaged:");
  EXPECT_TRUE(found.ends_with("; REMEDY")) << found;
}

TEST(TensorFile, ReadsFilesWithoutADigest) {
  const std::string path = testing::TempDir() + "/plain.safetensors";
  safetensors::File file;
  file.tensors["a"] = {"U8", {2}, "xy"};
  file.metadata["sha256"] = "of something else";
  safetensors::write_file(path, safetensors::serialize(file));
  EXPECT_EQ(load_tensors(path).tensors.at(0).first, "a");
}

TEST(TensorFile, CopyingNamesWhatDoesNotFit) {
  const NamedTensors model = {{"a", at::zeros({2})}};
  EXPECT_EQ(message([&] { copy_values({}, model, "x"); }), "x: has no tensor 'a'");
  EXPECT_EQ(message([&] {
              copy_values({{"a", at::zeros({3})}}, model, "x");
            }),
            "x: tensor 'a' has another shape than the model of the job");
  EXPECT_EQ(message([&] {
              copy_values({{"a", at::ones({2})}, {"b", at::zeros({1})}}, model, "x");
            }),
            "x: tensor 'b' belongs to no part of the model");
}

TEST(TensorFile, PrefixesComeAndGo) {
  NamedTensors all;
  add_prefixed(all, "model.", {{"a", at::zeros({1})}});
  add_prefixed(all, "optimizer.", {{"a", at::ones({1})}});
  const NamedTensors picked = with_prefix(all, "optimizer.");
  ASSERT_EQ(picked.size(), 1u);
  EXPECT_EQ(picked[0].first, "a");
  EXPECT_EQ(picked[0].second.item<float>(), 1);
}

}  // namespace
}  // namespace qat::train
