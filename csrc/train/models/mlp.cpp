#include <torch/nn/functional/activation.h>
#include <torch/nn/modules/container/modulelist.h>
#include <torch/nn/modules/dropout.h>
#include <torch/nn/modules/linear.h>

#include <functional>
#include <numeric>

#include "train/models/network.h"

namespace qat::train {
namespace {

namespace nn = torch::nn;

struct Mlp : Network {
  Mlp(const MlpSpec& spec, int64_t features, int64_t classes) {
    for (const int64_t width : spec.hidden) {
      layers->push_back(nn::Linear(features, width));
      features = width;
    }
    register_module("layers", layers);
    dropout = register_module("dropout", nn::Dropout(spec.dropout));
    head = register_module("head", nn::Linear(features, classes));
  }

  at::Tensor forward(at::Tensor x) override {
    if (x.dim() > 2) x = x.flatten(1);  // an operator of torch, which libqat_runtime has not got
    for (const auto& layer : *layers) {
      x = dropout(at::relu(layer->as<nn::Linear>()->forward(x)));
    }
    return head(x);
  }

  nn::ModuleList layers;
  nn::Dropout dropout{nullptr};
  nn::Linear head{nullptr};
};

}  // namespace

NetworkPtr make_mlp(const MlpSpec& spec, const std::vector<int64_t>& shape, int64_t classes) {
  const auto features =
      std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
  return std::make_shared<Mlp>(spec, features, classes);
}

}  // namespace qat::train
