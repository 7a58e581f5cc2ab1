#include <map>

#include "train/job_sections.h"

namespace qat::train {
namespace {

constexpr Interval kDropout{0.0, 1.0, false, true};

ModelSpec parse_mlp(const Node& node) {
  const Fields fields(node, "model", {"name", "hidden", "dropout"});
  MlpSpec spec;
  spec.hidden = fields.integers("hidden", spec.hidden, 1, 65536);
  spec.dropout = fields.number("dropout", spec.dropout, kDropout);
  return spec;
}

ModelSpec parse_resnet(const Node& node) {
  const Fields fields(node, "model", {"name", "depth", "width"});
  ResNetSpec spec;
  spec.depth = fields.integer("depth", spec.depth, 8, 110);
  if ((spec.depth - 2) % 6 != 0) {
    fields.fail("depth",
                "expected 8, 14, 20 or a larger 6n + 2, found " + std::to_string(spec.depth));
  }
  spec.width = fields.integer("width", spec.width, 1, 1024);
  return spec;
}

ModelSpec parse_mobilenet(const Node& node) {
  const Fields fields(node, "model", {"name", "width", "small_stem", "dropout"});
  MobileNetV2Spec spec;
  spec.width = fields.number("width", spec.width, {0.1, 4.0});
  spec.small_stem = fields.boolean("small_stem", spec.small_stem);
  spec.dropout = fields.number("dropout", spec.dropout, kDropout);
  return spec;
}

ModelSpec parse_vit(const Node& node) {
  const Fields fields(node, "model",
                      {"name", "patch", "dim", "depth", "heads", "mlp_dim", "dropout"});
  VitSpec spec;
  spec.patch = fields.integer("patch", spec.patch, 1, 64);
  spec.dim = fields.integer("dim", spec.dim, 1, 4096);
  spec.depth = fields.integer("depth", spec.depth, 1, 64);
  spec.heads = fields.integer("heads", spec.heads, 1, 64);
  spec.mlp_dim = fields.integer("mlp_dim", spec.mlp_dim, 1, 16384);
  spec.dropout = fields.number("dropout", spec.dropout, kDropout);
  if (spec.dim % spec.heads != 0) {
    fields.fail("heads", "expected a divisor of dim (" + std::to_string(spec.dim) + "), found " +
                             std::to_string(spec.heads));
  }
  return spec;
}

const std::map<std::string, ModelSpec (*)(const Node&)> kModels = {
    {"mlp", parse_mlp},
    {"resnet", parse_resnet},
    {"mobilenet_v2", parse_mobilenet},
    {"vit", parse_vit},
};

}  // namespace

ModelSpec parse_model(const Node& node) {
  // The name decides which other keys there are, so it is read before the keys are checked.
  Node name;
  name.kind = node.kind;
  name.scalar = node.scalar;
  name.place = node.place;
  if (const Entry* entry = node.find("name")) name.entries.push_back(*entry);
  Words models;
  for (const auto& [model, parse] : kModels) models.push_back(model);
  const Fields fields(name, "model", {"name"});
  fields.require("name", "one of " + join(models));
  return kModels.at(fields.choice("name", "", models))(node);
}

}  // namespace qat::train
