#include <torch/nn/init.h>
#include <torch/nn/modules/activation.h>
#include <torch/nn/modules/batchnorm.h>
#include <torch/nn/modules/container/sequential.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/dropout.h>
#include <torch/nn/modules/linear.h>

#include <algorithm>

#include "train/models/network.h"

namespace qat::train {
namespace {

namespace nn = torch::nn;

// Channel counts stay multiples of 8 and never lose more than a tenth to rounding.
int64_t round_channels(double channels) {
  const auto rounded = std::max<int64_t>(8, static_cast<int64_t>(channels + 4) / 8 * 8);
  return static_cast<double>(rounded) < 0.9 * channels ? rounded + 8 : rounded;
}

void push_conv(nn::Sequential& layers, int64_t in, int64_t out, int64_t kernel, int64_t stride,
               int64_t groups, bool activation) {
  layers->push_back(nn::Conv2d(nn::Conv2dOptions(in, out, kernel)
                                   .stride(stride)
                                   .padding(kernel / 2)
                                   .groups(groups)
                                   .bias(false)));
  layers->push_back(nn::BatchNorm2d(out));
  if (activation) layers->push_back(nn::ReLU6(nn::ReLU6Options().inplace(true)));
}

struct InvertedResidualImpl : nn::Module {
  InvertedResidualImpl(int64_t in, int64_t out, int64_t stride, int64_t expansion)
      : residual(stride == 1 && in == out) {
    const int64_t hidden = in * expansion;
    if (expansion != 1) push_conv(conv, in, hidden, 1, 1, 1, true);
    push_conv(conv, hidden, hidden, 3, stride, hidden, true);
    push_conv(conv, hidden, out, 1, 1, 1, false);
    register_module("conv", conv);
  }

  at::Tensor forward(const at::Tensor& x) {
    return residual ? x + conv->forward(x) : conv->forward(x);
  }

  nn::Sequential conv;
  bool residual;
};
TORCH_MODULE(InvertedResidual);

struct Stage {
  int64_t expansion, channels, repeats, stride;
};
constexpr Stage kStages[] = {{1, 16, 1, 1}, {6, 24, 2, 2},  {6, 32, 3, 2}, {6, 64, 4, 2},
                             {6, 96, 3, 1}, {6, 160, 3, 2}, {6, 320, 1, 1}};

struct MobileNetV2 : Network {
  MobileNetV2(const MobileNetV2Spec& spec, int64_t channels, int64_t classes) {
    int64_t in = round_channels(32 * spec.width);
    push_conv(features, channels, in, 3, spec.small_stem ? 1 : 2, 1, true);
    for (const Stage& stage : kStages) {
      const int64_t out = round_channels(static_cast<double>(stage.channels) * spec.width);
      // On small images the stem and the 24-channel stage keep the resolution: 28 px end as 4x4.
      const bool keep = spec.small_stem && stage.channels == 24;
      for (int64_t i = 0; i < stage.repeats; ++i) {
        features->push_back(
            InvertedResidual(in, out, i == 0 && !keep ? stage.stride : 1, stage.expansion));
        in = out;
      }
    }
    const int64_t last = round_channels(1280 * std::max(1.0, spec.width));
    push_conv(features, in, last, 1, 1, 1, true);
    register_module("features", features);
    dropout = register_module("dropout", nn::Dropout(spec.dropout));
    classifier = register_module("classifier", nn::Linear(last, classes));
    for (const auto& module : modules(/*include_self=*/false)) {
      if (auto* layer = module->as<nn::Conv2d>()) {
        nn::init::kaiming_normal_(layer->weight, 0.0, torch::kFanOut, torch::kReLU);
      } else if (auto* head = module->as<nn::Linear>()) {
        nn::init::normal_(head->weight, 0.0, 0.01);
        nn::init::zeros_(head->bias);
      }
    }
  }

  at::Tensor forward(at::Tensor x) override {
    x = features->forward(x);
    x = at::adaptive_avg_pool2d(x, {1, 1}).flatten(1);
    return classifier(dropout(x));
  }

  nn::Sequential features;
  nn::Dropout dropout{nullptr};
  nn::Linear classifier{nullptr};
};

}  // namespace

NetworkPtr make_mobilenet_v2(const MobileNetV2Spec& spec, const std::vector<int64_t>& shape,
                             int64_t classes) {
  require_images("mobilenet_v2", shape, 8);
  return std::make_shared<MobileNetV2>(spec, shape[0], classes);
}

}  // namespace qat::train
