#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <fstream>

#include "error.h"
#include "train/data.h"
#include "train/tensor_file.h"

namespace qat::train {
namespace {

DataSet images(int64_t rows) {
  DataSet data;
  data.train.inputs = at::arange(rows * 12).to(at::kByte).view({rows, 1, 3, 4});
  data.train.targets = at::arange(rows);
  data.mean = {0.0};
  data.std = {1.0 / 255.0};  // leaves the bytes as they are
  return data;
}

TEST(TensorBatches, EveryRowOnceInAnOrderOfTheEpoch) {
  const DataSet data = images(12);
  TensorBatches source(data.train, data, {.batch = 4, .shuffle = true, .seed = 3});
  ASSERT_EQ(source.batches(), 3);
  std::vector<at::Tensor> first, second;
  for (int64_t i = 0; i < 3; ++i) first.push_back(source.batch(0, i).targets);
  for (int64_t i = 0; i < 3; ++i) second.push_back(source.batch(1, i).targets);
  EXPECT_TRUE(at::equal(std::get<0>(at::cat(first).sort()), at::arange(12)));
  EXPECT_FALSE(at::equal(at::cat(first), at::cat(second)));
}

TEST(TensorBatches, ABatchDependsOnEpochAndIndexAlone) {
  const DataSet data = images(12);
  const BatchOptions options{.batch = 4, .shuffle = true, .flip = true, .shift = 1, .seed = 3};
  TensorBatches walked(data.train, data, options), jumped(data.train, data, options);
  for (int64_t i = 0; i < 2; ++i) walked.batch(1, i);
  const Batch a = walked.batch(1, 2), b = jumped.batch(1, 2);
  EXPECT_TRUE(at::equal(a.inputs, b.inputs));
  EXPECT_TRUE(at::equal(a.targets, b.targets));
}

TEST(TensorBatches, ShiftAndFlipMovePixelsAndChangeNone) {
  const DataSet data = images(8);
  TensorBatches source(data.train, data, {.batch = 8, .flip = true, .shift = 2, .seed = 1});
  const Batch batch = source.batch(0, 0);
  int moved = 0;
  for (int64_t row = 0; row < 8; ++row) {
    const at::Tensor original = data.train.inputs[row].to(at::kFloat);
    const at::Tensor padded = at::constant_pad_nd(original, {2, 2, 2, 2}, 0);
    int matches = 0;
    for (const bool flip : {false, true}) {
      const at::Tensor source_image =
          flip ? at::constant_pad_nd(original.flip(2), {2, 2, 2, 2}, 0) : padded;
      for (int64_t dy = 0; dy <= 4; ++dy) {
        for (int64_t dx = 0; dx <= 4; ++dx) {
          const at::Tensor window = source_image.slice(1, dy, dy + 3).slice(2, dx, dx + 4);
          // 255 * fl(1/255) is not exactly 1, so values are compared after rounding.
          matches += at::equal(window, batch.inputs[row].round());
        }
      }
    }
    EXPECT_GE(matches, 1) << row;
    moved += !at::equal(original, batch.inputs[row].round());
  }
  EXPECT_GT(moved, 0);
}

TEST(TensorBatches, TheLastBatchOfAnEvaluationIsSmaller) {
  const DataSet data = images(10);
  TensorBatches source(data.train, data, {.batch = 4});
  ASSERT_EQ(source.batches(), 3);
  EXPECT_EQ(source.batch(0, 2).targets.size(0), 2);
}

std::string load_message(const DataSpec& spec) {
  try {
    load_data(spec);
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(LoadData, NamesThePackageOfAMissingDataSet) {
  EXPECT_EQ(
      load_message({.source = FashionMnistSpec{"/nowhere"}}),
      "data.root: Fashion-MNIST is not there, tried /nowhere/train-images-idx3-ubyte.gz; "
      "install the Debian package dataset-fashion-mnist or set data.root to a folder that has "
      "its files");
}

class Tensors : public testing::Test {
 protected:
  DataSpec save(const at::Tensor& inputs, const at::Tensor& targets) {
    save_tensors(path, {{"inputs", inputs}, {"targets", targets}}, {});
    DataSpec spec{.source = SafetensorsSpec{path, path}};
    spec.batch = 2;
    return spec;
  }
  std::string path = testing::TempDir() + "/data.safetensors";
};

TEST_F(Tensors, NormalisationIsMeasuredOnTheTrainingRows) {
  const DataSet data =
      load_data(save(at::tensor({1.f, 5.f, 3.f, 5.f}).view({2, 2}), at::arange(2)));
  EXPECT_EQ(data.mean, (std::vector<double>{2, 5}));
  EXPECT_EQ(data.std, (std::vector<double>{1, 1}));  // a constant column keeps its unit
  EXPECT_EQ(data.classes, 2);
}

TEST_F(Tensors, NotANumberIsNamedWithItsRow) {
  at::Tensor inputs = at::zeros({3, 2});
  inputs[1][0] = NAN;
  EXPECT_EQ(load_message(save(inputs, at::arange(3))),
            path + ": row 1: inputs must be finite, found NaN or infinity");
}

TEST_F(Tensors, LabelsOutsideTheClassesAreNamed) {
  DataSpec spec = save(at::zeros({3, 2}), at::arange(3));
  spec.classes = 2;
  EXPECT_EQ(load_message(spec), path + ": row 2: label 2 is outside 0 to 1 (data.classes)");
}

TEST_F(Tensors, CountsMustAgree) {
  EXPECT_EQ(load_message(save(at::zeros({3, 2}), at::arange(2))),
            path + ": has 2 labels, but " + path + " has 3 samples");
}

TEST_F(Tensors, ABatchLargerThanTheDataIsRefused) {
  DataSpec spec = save(at::zeros({3, 2}), at::arange(3));
  spec.batch = 4;
  EXPECT_EQ(load_message(spec), "data.batch: 4 is more than the 3 training rows; make it smaller");
}

}  // namespace
}  // namespace qat::train
