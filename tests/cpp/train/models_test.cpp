#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "error.h"
#include "train/models/network.h"

namespace qat::train {
namespace {

int64_t parameters(const NetworkPtr& network) {
  int64_t count = 0;
  for (const auto& tensor : network->parameters()) count += tensor.numel();
  return count;
}

TEST(Models, MapABatchToLogits) {
  const std::vector<int64_t> shape = {1, 28, 28};
  for (const ModelSpec& spec : {ModelSpec(MlpSpec{}), ModelSpec(ResNetSpec{}),
                                ModelSpec(MobileNetV2Spec{}), ModelSpec(VitSpec{})}) {
    const NetworkPtr network = make_network(spec, shape, 10);
    const at::Tensor logits = network->forward(at::zeros({2, 1, 28, 28}));
    EXPECT_EQ(logits.sizes(), (std::vector<int64_t>{2, 10})) << spec.index();
    logits.sum().backward();
    for (const auto& item : network->named_parameters()) {
      EXPECT_TRUE(item.value().grad().defined()) << spec.index() << " " << item.key();
    }
  }
}

// conv1 144; stage 1: 2 * 2304; stage 2: 4608 + 9216 + 512; stage 3: 18432 + 36864 + 2048;
// batch norms 2 * (16 * 3 + 32 * 3 + 64 * 3); fc 650.
TEST(Models, ResNet8HasTheParametersOfItsLayers) {
  EXPECT_EQ(parameters(make_network(ResNetSpec{8, 16}, {1, 28, 28}, 10)), 77754);
}

// The published model for 1000 classes has 3,504,872 parameters.
TEST(Models, MobileNetV2HasThePublishedSize) {
  EXPECT_EQ(parameters(make_network(MobileNetV2Spec{.small_stem = false}, {3, 224, 224}, 1000)),
            3504872);
}

std::string message(const ModelSpec& spec, const std::vector<int64_t>& shape) {
  try {
    make_network(spec, shape, 10);
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(Models, NameTheShapesTheyCannotTake) {
  EXPECT_EQ(message(ResNetSpec{}, {4}),
            "model.name: resnet takes images [C, H, W] of at least 4 pixels a side, the data has "
            "samples of shape [4]");
  EXPECT_EQ(message(VitSpec{.patch = 5}, {1, 28, 28}),
            "model.patch: expected a divisor of the image size 28x28, got 5");
}

}  // namespace
}  // namespace qat::train
