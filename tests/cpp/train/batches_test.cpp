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

TEST(TensorBatches, ReadingABatchLeavesTheDataAsTheyWere) {
  DataSet data = images(8);
  data.std = {0.5};
  data.train.inputs = data.train.inputs.to(at::kFloat);
  const at::Tensor before = data.train.inputs.clone();
  TensorBatches source(data.train, data, {.batch = 4});
  const Batch first = source.batch(0, 0);
  EXPECT_TRUE(at::equal(source.batch(1, 0).inputs, first.inputs));
  EXPECT_TRUE(at::equal(data.train.inputs, before));
}

TEST(HoldOut, EveryRowIsInOnePartInItsOrder) {
  DataSet data = images(12);
  const Split whole = data.train;
  hold_out(data, 3, 7);
  ASSERT_EQ(data.validation.targets.size(0), 3);
  ASSERT_EQ(data.train.targets.size(0), 9);
  const at::Tensor all = at::cat({data.validation.targets, data.train.targets});
  EXPECT_TRUE(at::equal(std::get<0>(all.sort()), at::arange(12)));
  for (const Split& part : {data.train, data.validation}) {
    EXPECT_TRUE(at::equal(part.targets, std::get<0>(part.targets.sort())));
    EXPECT_TRUE(at::equal(part.inputs, whole.inputs.index_select(0, part.targets)));
  }
}

TEST(HoldOut, IsAFunctionOfTheSeed) {
  DataSet first = images(100), again = images(100), other = images(100);
  hold_out(first, 10, 7);
  hold_out(again, 10, 7);
  hold_out(other, 10, 8);
  EXPECT_TRUE(at::equal(first.validation.targets, again.validation.targets));
  EXPECT_FALSE(at::equal(first.validation.targets, other.validation.targets));
}

std::string load_message(const DataSpec& spec) {
  try {
    load_data(spec, 1);
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

TEST_F(Tensors, NormalisationIsMeasuredOnTheRowsToTrainOn) {
  // Row i is (i, 5), so the mean of the first column tells which rows were counted.
  const at::Tensor inputs = at::stack({at::arange(4.f), at::full({4}, 5.f)}, 1);
  const DataSet data = load_data(save(inputs, at::arange(4)), 1);
  const double held = data.validation.targets.item<double>();
  EXPECT_EQ(data.mean, (std::vector<double>{(6 - held) / 3, 5}));
  EXPECT_EQ(data.std[1], 1);  // a constant column keeps its unit
  EXPECT_EQ(data.classes, 4);
}

TEST_F(Tensors, TheDefaultIsATwelfthForValidation) {
  const DataSet data = load_data(save(at::zeros({50, 2}), at::arange(50)), 1);
  EXPECT_EQ(data.validation.targets.size(0), 4);
  EXPECT_EQ(data.train.targets.size(0), 46);
  EXPECT_EQ(data.test.targets.size(0), 50);
}

TEST_F(Tensors, TheDefaultStopsAt5000) {
  const DataSet data = load_data(save(at::zeros({72'000, 1}), at::zeros({72'000}, at::kLong)), 1);
  EXPECT_EQ(data.validation.targets.size(0), 5000);
}

TEST_F(Tensors, AValidationPartOfEverythingIsRefused) {
  DataSpec spec = save(at::zeros({3, 2}), at::arange(3));
  spec.validation = 3;
  EXPECT_EQ(load_message(spec),
            "data.validation: 3 of the 3 training rows leave none to train on; make it smaller");
}

TEST_F(Tensors, TheDigestIsOfTypesShapesAndValues) {
  const auto digest = [&](const at::Tensor& inputs) {
    return load_data(save(inputs, at::arange(4)), 1).digest;
  };
  const std::string zeros = digest(at::zeros({4, 2}));
  EXPECT_EQ(zeros.size(), 7 + 64);
  EXPECT_EQ(zeros.substr(0, 7), "sha256:");
  EXPECT_EQ(digest(at::zeros({4, 2})), zeros);
  EXPECT_NE(digest(at::zeros({4, 2, 1})), zeros);
  EXPECT_NE(digest(at::zeros({4, 8}, at::kByte)), zeros);
  at::Tensor other = at::zeros({4, 2});
  other[3][1] = 1;
  EXPECT_NE(digest(other), zeros);
}

TEST_F(Tensors, NotANumberIsNamedWithItsRow) {
  at::Tensor inputs = at::zeros({3, 2});
  inputs[1][0] = NAN;
  EXPECT_EQ(load_message(save(inputs, at::arange(3))),
            path + ": row 1 (counted from 0): inputs must be finite, found NaN or infinity");
}

TEST_F(Tensors, LabelsOutsideTheClassesAreNamed) {
  DataSpec spec = save(at::zeros({3, 2}), at::arange(3));
  spec.classes = 2;
  EXPECT_EQ(load_message(spec),
            path + ": row 2 (counted from 0): label 2 is outside 0 to 1 (data.classes)");
}

TEST_F(Tensors, CountsMustAgree) {
  EXPECT_EQ(load_message(save(at::zeros({3, 2}), at::arange(2))),
            path + ": has 2 labels, but " + path + " has 3 samples");
}

TEST_F(Tensors, ABatchLargerThanTheDataIsRefused) {
  DataSpec spec = save(at::zeros({3, 2}), at::arange(3));
  spec.batch = 4;
  EXPECT_EQ(load_message(spec),
            "data.batch: 4 is more than the 2 training rows without the validation rows; make it "
            "smaller");
}

}  // namespace
}  // namespace qat::train
