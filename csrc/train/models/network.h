#pragma once
// The built-in float models. Plain torch::nn: nothing here knows of quantization.

#include <torch/nn/module.h>

#include <memory>
#include <vector>

#include "train/job.h"

namespace qat::train {

struct Network : torch::nn::Module {
  virtual at::Tensor forward(at::Tensor x) = 0;
};
using NetworkPtr = std::shared_ptr<Network>;

// shape: of one sample. Throws qat::Error when the model cannot take it.
NetworkPtr make_network(const ModelSpec& spec, const std::vector<int64_t>& shape, int64_t classes);

NetworkPtr make_mlp(const MlpSpec& spec, const std::vector<int64_t>& shape, int64_t classes);
NetworkPtr make_resnet(const ResNetSpec& spec, const std::vector<int64_t>& shape, int64_t classes);
NetworkPtr make_mobilenet_v2(const MobileNetV2Spec& spec, const std::vector<int64_t>& shape,
                             int64_t classes);
NetworkPtr make_vit(const VitSpec& spec, const std::vector<int64_t>& shape, int64_t classes);

// Throws unless the shape is [C, H, W] with H and W of at least `smallest`.
void require_images(const std::string& model, const std::vector<int64_t>& shape, int64_t smallest);

}  // namespace qat::train
