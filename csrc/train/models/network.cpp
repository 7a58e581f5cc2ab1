#include "train/models/network.h"

#include "error.h"

namespace qat::train {
namespace {

NetworkPtr make(const MlpSpec& spec, const std::vector<int64_t>& shape, int64_t classes) {
  return make_mlp(spec, shape, classes);
}
NetworkPtr make(const ResNetSpec& spec, const std::vector<int64_t>& shape, int64_t classes) {
  return make_resnet(spec, shape, classes);
}
NetworkPtr make(const MobileNetV2Spec& spec, const std::vector<int64_t>& shape, int64_t classes) {
  return make_mobilenet_v2(spec, shape, classes);
}
NetworkPtr make(const VitSpec& spec, const std::vector<int64_t>& shape, int64_t classes) {
  return make_vit(spec, shape, classes);
}

}  // namespace

NetworkPtr make_network(const ModelSpec& spec, const std::vector<int64_t>& shape, int64_t classes) {
  return std::visit([&](const auto& chosen) { return make(chosen, shape, classes); }, spec);
}

void require_images(const std::string& model, const std::vector<int64_t>& shape, int64_t smallest) {
  if (shape.size() == 3 && shape[1] >= smallest && shape[2] >= smallest) return;
  std::string text;
  for (const int64_t size : shape) text += (text.empty() ? "" : ", ") + std::to_string(size);
  throw Error("model.name: " + model + " takes images [C, H, W] of at least " +
              std::to_string(smallest) + " pixels a side, the data has samples of shape [" + text +
              "]");
}

}  // namespace qat::train
