#include <torch/nn/init.h>
#include <torch/nn/modules/batchnorm.h>
#include <torch/nn/modules/container/sequential.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/modules/pooling.h>

#include "train/models/network.h"

namespace qat::train {
namespace {

namespace nn = torch::nn;

nn::Conv2d conv(int64_t in, int64_t out, int64_t kernel, int64_t stride) {
  return nn::Conv2d(
      nn::Conv2dOptions(in, out, kernel).stride(stride).padding(kernel / 2).bias(false));
}

struct BasicBlockImpl : nn::Module {
  BasicBlockImpl(int64_t in, int64_t out, int64_t stride) {
    conv1 = register_module("conv1", conv(in, out, 3, stride));
    bn1 = register_module("bn1", nn::BatchNorm2d(out));
    conv2 = register_module("conv2", conv(out, out, 3, 1));
    bn2 = register_module("bn2", nn::BatchNorm2d(out));
    if (stride == 1 && in == out) return;
    shortcut = nn::Sequential(conv(in, out, 1, stride), nn::BatchNorm2d(out));
    register_module("shortcut", shortcut);
  }

  at::Tensor forward(const at::Tensor& x) {
    const at::Tensor skip = shortcut.is_empty() ? x : shortcut->forward(x);
    at::Tensor y = bn1(conv1(x)).relu_();
    y = bn2(conv2(y));
    y += skip;
    return y.relu_();
  }

  nn::Conv2d conv1{nullptr}, conv2{nullptr};
  nn::BatchNorm2d bn1{nullptr}, bn2{nullptr};
  nn::Sequential shortcut{nullptr};
};
TORCH_MODULE(BasicBlock);

// The residual networks for small images: depth 6n + 2, three stages of n blocks.
struct ResNet : Network {
  ResNet(const ResNetSpec& spec, int64_t channels, int64_t classes) {
    const int64_t blocks = (spec.depth - 2) / 6;
    conv1 = register_module("conv1", conv(channels, spec.width, 3, 1));
    bn1 = register_module("bn1", nn::BatchNorm2d(spec.width));
    layer1 = register_module("layer1", stage(spec.width, spec.width, blocks, 1));
    layer2 = register_module("layer2", stage(spec.width, 2 * spec.width, blocks, 2));
    layer3 = register_module("layer3", stage(2 * spec.width, 4 * spec.width, blocks, 2));
    avgpool = register_module("avgpool", nn::AdaptiveAvgPool2d(1));
    fc = register_module("fc", nn::Linear(4 * spec.width, classes));
    for (const auto& module : modules(/*include_self=*/false)) {
      if (auto* layer = module->as<nn::Conv2d>()) {
        nn::init::kaiming_normal_(layer->weight, 0.0, torch::kFanOut, torch::kReLU);
      }
    }
  }

  static nn::Sequential stage(int64_t in, int64_t out, int64_t blocks, int64_t stride) {
    nn::Sequential layers;
    for (int64_t i = 0; i < blocks; ++i) {
      layers->push_back(BasicBlock(i == 0 ? in : out, out, i == 0 ? stride : 1));
    }
    return layers;
  }

  at::Tensor forward(at::Tensor x) override {
    x = bn1(conv1(x)).relu_();
    x = layer1->forward(x);
    x = layer2->forward(x);
    x = layer3->forward(x);
    return fc(avgpool(x).flatten(1));
  }

  nn::Conv2d conv1{nullptr};
  nn::BatchNorm2d bn1{nullptr};
  nn::Sequential layer1{nullptr}, layer2{nullptr}, layer3{nullptr};
  nn::AdaptiveAvgPool2d avgpool{nullptr};
  nn::Linear fc{nullptr};
};

}  // namespace

NetworkPtr make_resnet(const ResNetSpec& spec, const std::vector<int64_t>& shape, int64_t classes) {
  require_images("resnet", shape, 4);
  return std::make_shared<ResNet>(spec, shape[0], classes);
}

}  // namespace qat::train
