#include <filesystem>
#include <set>

#include "train/job_sections.h"

namespace qat::train {
namespace {

DistillFeature parse_feature(const Node& node, const std::string& path) {
  const Fields fields(node, path, {"site", "weight"});
  DistillFeature feature;
  fields.require("site", "a name that 'qat plan' prints");
  feature.site = fields.word("site", "");
  feature.place = fields.find("site")->place.text();
  feature.weight = fields.number("weight", feature.weight, {0.0, 1e6, true});
  return feature;
}

std::vector<DistillFeature> parse_features(const Fields& fields) {
  std::vector<DistillFeature> features;
  const Node* list = fields.find("features");
  if (!list) return features;
  if (list->kind != Node::Kind::list) {
    fields.fail("features", "expected a list of maps {site, weight}, found " + list->found());
  }
  std::set<std::string> seen;
  for (const Node& item : list->items) {
    const std::string path = "distill.features[" + std::to_string(features.size()) + "]";
    features.push_back(parse_feature(item, path));
    if (!seen.insert(features.back().site).second) {
      item.place.fail(path + ".site: '" + features.back().site + "' is given twice");
    }
  }
  return features;
}

}  // namespace

DistillSpec parse_distill(const Node& node) {
  const Fields fields(node, "distill", {"teacher", "temperature", "weight", "features"});
  DistillSpec spec;
  spec.teacher = fields.word("teacher", spec.teacher);
  const Node* teacher = fields.find("teacher");
  spec.place = (teacher ? *teacher : node).place.text();
  if (spec.teacher != "float") {
    spec.teacher = std::filesystem::absolute(spec.teacher).lexically_normal().string();
  }
  spec.temperature = fields.number("temperature", spec.temperature, {0.0, 1000.0, true});
  spec.weight = fields.number("weight", spec.weight, {0.0, 1.0});
  spec.features = parse_features(fields);
  return spec;
}

}  // namespace qat::train
