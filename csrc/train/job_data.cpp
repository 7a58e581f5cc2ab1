#include <filesystem>
#include <map>

#include "train/job_sections.h"

namespace qat::train {
namespace {

const Words kCommon = {"name", "batch", "limit", "validation", "classes", "mean", "std", "augment"};

Words with_common(Words keys) {
  keys.insert(keys.end(), kCommon.begin(), kCommon.end());
  return keys;
}

// Paths of a job are relative to the folder where the command runs; a run keeps them absolute.
std::string file(const Fields& fields, const std::string& key) {
  fields.require(key, "the path of a file");
  return std::filesystem::absolute(fields.word(key, "")).lexically_normal().string();
}

DataSource parse_fashion_mnist(const Node& node) {
  const Fields fields(node, "data", with_common({"root"}));
  FashionMnistSpec spec;
  if (fields.find("root")) spec.root = file(fields, "root");
  return spec;
}

DataSource parse_idx(const Node& node) {
  const Fields fields(node, "data",
                      with_common({"train_images", "train_labels", "test_images", "test_labels"}));
  return IdxSpec{file(fields, "train_images"), file(fields, "train_labels"),
                 file(fields, "test_images"), file(fields, "test_labels")};
}

DataSource parse_csv(const Node& node) {
  const Fields fields(node, "data", with_common({"train", "test", "label", "header"}));
  CsvSpec spec{file(fields, "train"), file(fields, "test")};
  spec.header = fields.boolean("header", spec.header);
  const Node* label = fields.find("label");
  if (label && label->kind == Node::Kind::scalar && !label->quoted && is_integer(label->scalar)) {
    spec.label = std::to_string(fields.integer("label", 0, 0, 1'000'000));
  } else {
    if (!label && !spec.header) {
      fields.fail("label",
                  "the file has no header row, so no column is named 'label'; give the index of "
                  "the label's column from 0, as in label: 0");
    }
    spec.label = fields.word("label", spec.label);
    if (!spec.header && !is_integer(spec.label)) {
      fields.fail("label",
                  "expected the index of a column, for the file has no header row, found '" +
                      spec.label + "'");
    }
  }
  return spec;
}

DataSource parse_safetensors(const Node& node) {
  const Fields fields(node, "data", with_common({"train", "test"}));
  return SafetensorsSpec{file(fields, "train"), file(fields, "test")};
}

const std::map<std::string, DataSource (*)(const Node&)> kSources = {
    {"fashion_mnist", parse_fashion_mnist},
    {"idx", parse_idx},
    {"csv", parse_csv},
    {"safetensors", parse_safetensors},
};

Words source_names() {
  Words names;
  for (const auto& [name, parse] : kSources) names.push_back(name);
  return names;
}

// The name decides which other keys there are, so it is read before the keys are checked.
DataSource parse_source(const Node& node) {
  Node name;
  name.kind = node.kind;
  name.scalar = node.scalar;
  name.place = node.place;
  if (const Entry* entry = node.find("name")) name.entries.push_back(*entry);
  const Fields fields(name, "data", {"name"});
  const Words names = source_names();
  fields.require("name", "one of " + join(names));
  return kSources.at(fields.choice("name", "", names))(node);
}

}  // namespace

DataSpec parse_data(const Node& node) {
  DataSpec spec;
  spec.source = parse_source(node);
  // The source has refused unknown keys already.
  Words keys;
  for (const Entry& entry : node.entries) keys.push_back(entry.key);
  const Fields fields(node, "data", keys);
  spec.batch = fields.integer("batch", spec.batch, 1, 65536);
  spec.limit = fields.integer("limit", spec.limit, 0, 1'000'000'000);
  spec.validation = fields.integer("validation", spec.validation, 0, 1'000'000'000);
  spec.classes = fields.integer("classes", spec.classes, 0, kMostClasses);
  spec.mean = fields.numbers("mean", {-1e30, 1e30});
  spec.std = fields.numbers("std", {0.0, 1e30, true});
  if (spec.mean.size() != spec.std.size()) {
    fields.fail(fields.find("std") ? "std" : "mean",
                "mean and std go together and are of one length, found " +
                    std::to_string(spec.mean.size()) + " and " + std::to_string(spec.std.size()));
  }
  if (const Node* augment = fields.find("augment")) {
    const Fields options(*augment, "data.augment", {"flip", "shift"});
    spec.flip = options.boolean("flip", spec.flip);
    spec.shift = options.integer("shift", spec.shift, 0, 64);
  }
  return spec;
}

}  // namespace qat::train
