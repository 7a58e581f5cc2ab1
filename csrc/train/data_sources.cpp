#include "train/data_sources.h"

#include <ATen/ops/from_blob.h>

#include <filesystem>
#include <utility>

#include "checkpoint/safetensors.h"
#include "error.h"
#include "train/data_csv.h"
#include "train/data_idx.h"
#include "train/sizes_text.h"

namespace qat::train {
namespace {

at::Tensor copy_of(const void* data, at::IntArrayRef shape, at::ScalarType type) {
  return at::from_blob(const_cast<void*>(data), shape, at::TensorOptions().dtype(type)).clone();
}

void check_counts(const std::string& inputs, int64_t rows, const std::string& targets,
                  int64_t labels) {
  if (rows == labels) return;
  throw Error(targets + ": has " + std::to_string(labels) + " labels, but " + inputs + " has " +
              std::to_string(rows) + " samples");
}

Split load_idx(const std::string& image_path, const std::string& label_path) {
  const IdxFile images = read_idx(image_path);
  const IdxFile labels = read_idx(label_path);
  if (images.shape.size() < 3) {
    throw Error(image_path + ": expected images (rank 3 or 4), found rank " +
                std::to_string(images.shape.size()));
  }
  if (labels.shape.size() != 1) {
    throw Error(label_path + ": expected labels (rank 1), found rank " +
                std::to_string(labels.shape.size()));
  }
  check_counts(image_path, images.shape[0], label_path, labels.shape[0]);
  auto shape = images.shape;
  if (shape.size() == 3) shape.insert(shape.begin() + 1, 1);
  return {copy_of(images.bytes.data(), shape, at::kByte),
          copy_of(labels.bytes.data(), labels.shape, at::kByte).to(at::kLong)};
}

Loaded load_csv(const std::string& path, const CsvSpec& spec) {
  CsvTable table = read_csv(path, spec.label, spec.header);
  return {.split = {copy_of(table.features.data(), {table.rows(), table.columns}, at::kFloat),
                    copy_of(table.labels.data(), {table.rows()}, at::kLong)},
          .origin = path,
          .label_origin = path,
          .columns = std::move(table.names),
          .lines = std::move(table.lines)};
}

Split load_safetensors(const std::string& path) {
  const auto file = safetensors::parse(safetensors::read_file(path), path);
  const auto entry = [&](const std::string& name) -> const safetensors::Entry& {
    const auto found = file.tensors.find(name);
    if (found != file.tensors.end()) return found->second;
    throw Error(path + ": has no tensor '" + name + "'; a data file holds 'inputs' and 'targets'");
  };
  const auto& inputs = entry("inputs");
  const auto& targets = entry("targets");
  if (inputs.dtype != "U8" && inputs.dtype != "F32") {
    throw Error(path + ": inputs: expected U8 or F32, found " + inputs.dtype);
  }
  if (targets.dtype != "I64" || targets.shape.size() != 1) {
    throw Error(path + ": targets: expected I64 of rank 1, found " + targets.dtype + " of rank " +
                std::to_string(targets.shape.size()));
  }
  if (inputs.shape.size() < 2 || inputs.bytes.empty()) {
    throw Error(path + ": inputs: expected [N, ...] with rows, found " + sizes_text(inputs.shape));
  }
  check_counts(path, inputs.shape[0], path, targets.shape[0]);
  return {copy_of(inputs.bytes.data(), inputs.shape, inputs.dtype == "U8" ? at::kByte : at::kFloat),
          copy_of(targets.bytes.data(), targets.shape, at::kLong)};
}

}  // namespace

Loaded load_split(const DataSource& source, bool train) {
  if (const auto* fashion = std::get_if<FashionMnistSpec>(&source)) {
    const std::string stem = fashion->root + (train ? "/train-" : "/t10k-");
    std::string images = stem + "images-idx3-ubyte", labels = stem + "labels-idx1-ubyte";
    for (std::string* path : {&images, &labels}) {
      if (std::filesystem::exists(*path)) continue;
      *path += ".gz";
      if (std::filesystem::exists(*path)) continue;
      throw Error("data.root: Fashion-MNIST is not there, tried " + *path +
                  "; install the Debian package dataset-fashion-mnist or set data.root to a folder "
                  "that has its files");
    }
    return {load_idx(images, labels), images, labels, {}, {}};
  }
  if (const auto* idx = std::get_if<IdxSpec>(&source)) {
    const auto& images = train ? idx->train_images : idx->test_images;
    const auto& labels = train ? idx->train_labels : idx->test_labels;
    return {load_idx(images, labels), images, labels, {}, {}};
  }
  if (const auto* csv = std::get_if<CsvSpec>(&source)) {
    return load_csv(train ? csv->train : csv->test, *csv);
  }
  const auto& spec = std::get<SafetensorsSpec>(source);
  const auto& path = train ? spec.train : spec.test;
  return {load_safetensors(path), path, path, {}, {}};
}

std::string Loaded::place_of(int64_t row) const {
  if (lines.empty()) return "row " + std::to_string(row) + " (counted from 0)";
  return "row " + std::to_string(lines[static_cast<size_t>(row)]);
}

}  // namespace qat::train
