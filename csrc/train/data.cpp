#include "train/data.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/randperm.h>

#include <algorithm>
#include <filesystem>
#include <string_view>

#include "checkpoint/safetensors.h"
#include "checkpoint/sha256.h"
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

Split load_csv(const std::string& path, const CsvSpec& spec) {
  const CsvTable table = read_csv(path, spec.label, spec.header);
  return {copy_of(table.features.data(), {table.rows(), table.columns}, at::kFloat),
          copy_of(table.labels.data(), {table.rows()}, at::kLong)};
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

struct Loaded {
  Split split;
  std::string origin, label_origin;  // the files to name in messages
};

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
    return {load_idx(images, labels), images, labels};
  }
  if (const auto* idx = std::get_if<IdxSpec>(&source)) {
    const auto& images = train ? idx->train_images : idx->test_images;
    const auto& labels = train ? idx->train_labels : idx->test_labels;
    return {load_idx(images, labels), images, labels};
  }
  if (const auto* csv = std::get_if<CsvSpec>(&source)) {
    const auto& path = train ? csv->train : csv->test;
    return {load_csv(path, *csv), path, path};
  }
  const auto& spec = std::get<SafetensorsSpec>(source);
  const auto& path = train ? spec.train : spec.test;
  return {load_safetensors(path), path, path};
}

void check_finite(const Loaded& loaded) {
  const at::Tensor& inputs = loaded.split.inputs;
  if (inputs.scalar_type() != at::kFloat) return;
  const at::Tensor finite = at::isfinite(inputs).flatten(1).all(1);
  if (finite.all().item<bool>()) return;
  const int64_t row = finite.to(at::kInt).argmin().item<int64_t>();
  throw Error(loaded.origin + ": row " + std::to_string(row) +
              ": inputs must be finite, found NaN or infinity");
}

void check_labels(const Loaded& loaded, int64_t classes, bool given) {
  const at::Tensor& targets = loaded.split.targets;
  const at::Tensor wrong = targets.lt(0).logical_or(targets.ge(classes));
  if (!wrong.any().item<bool>()) return;
  const int64_t row = wrong.to(at::kInt).argmax().item<int64_t>();
  throw Error(loaded.label_origin + ": row " + std::to_string(row) + ": label " +
              std::to_string(targets[row].item<int64_t>()) + " is outside 0 to " +
              std::to_string(classes - 1) +
              (given ? " (data.classes)" : " (the labels of the training data)"));
}

std::string_view bytes_of(const at::Tensor& tensor) {
  return {static_cast<const char*>(tensor.const_data_ptr()), tensor.nbytes()};
}

// Types and shapes are part of it: the same bytes cut differently are other data.
std::string digest_of(const DataSet& data) {
  checkpoint::Sha256 hash;
  for (const Split* split : {&data.train, &data.test}) {
    for (const at::Tensor& tensor : {split->inputs, split->targets}) {
      hash.update(c10::toString(tensor.scalar_type()) + sizes_text(tensor.sizes()));
      hash.update(bytes_of(tensor.contiguous()));
    }
  }
  return "sha256:" + hash.finish();
}

void take_first(Split& split, int64_t limit) {
  if (limit == 0 || split.targets.size(0) <= limit) return;
  split.inputs = split.inputs.narrow(0, 0, limit).clone();
  split.targets = split.targets.narrow(0, 0, limit).clone();
}

// In the units of the model's input before normalisation: bytes count as 0 to 1.
void measure_normalisation(DataSet& data) {
  const at::Tensor& inputs = data.train.inputs;
  const int64_t channels = inputs.size(1);
  for (int64_t c = 0; c < channels; ++c) {
    at::Tensor values = inputs.select(1, c).to(at::kDouble);
    if (inputs.scalar_type() == at::kByte) values = values / 255.0;
    const double std = values.std(/*unbiased=*/false).item<double>();
    data.mean.push_back(values.mean().item<double>());
    data.std.push_back(std > 0 ? std : 1.0);  // a constant column becomes zeros
  }
}

int64_t validation_rows(const DataSpec& spec, int64_t rows) {
  if (spec.validation == 0) return std::clamp<int64_t>(rows / 12, 1, 5000);
  if (spec.validation < rows) return spec.validation;
  throw Error("data.validation: " + std::to_string(spec.validation) + " of the " +
              std::to_string(rows) + " training rows leave none to train on; make it smaller");
}

}  // namespace

void hold_out(DataSet& data, int64_t rows, uint64_t seed) {
  const int64_t all = data.train.targets.size(0);
  const at::Tensor order =
      at::randperm(all, at::detail::createCPUGenerator(seed), at::TensorOptions().dtype(at::kLong));
  const at::Tensor held = std::get<0>(order.narrow(0, 0, rows).sort());
  const at::Tensor kept = std::get<0>(order.narrow(0, rows, all - rows).sort());
  const Split whole = data.train;
  data.validation = {whole.inputs.index_select(0, held), whole.targets.index_select(0, held)};
  data.train = {whole.inputs.index_select(0, kept), whole.targets.index_select(0, kept)};
}

DataSet load_data(const DataSpec& spec, uint64_t seed) {
  const Loaded train = load_split(spec.source, true);
  const Loaded test = load_split(spec.source, false);
  DataSet data;
  data.train = train.split;
  data.test = test.split;
  const auto shape = data.train.inputs.sizes().slice(1);
  if (shape != data.test.inputs.sizes().slice(1)) {
    throw Error(test.origin + ": samples are " + sizes_text(data.test.inputs.sizes().slice(1)) +
                ", those of " + train.origin + " are " + sizes_text(shape));
  }
  data.shape = shape.vec();
  data.classes = spec.classes ? spec.classes : data.train.targets.max().item<int64_t>() + 1;
  for (const Loaded* loaded : {&train, &test}) {
    check_finite(*loaded);
    check_labels(*loaded, data.classes, spec.classes != 0);
  }
  data.digest = digest_of(data);
  take_first(data.train, spec.limit);
  take_first(data.test, spec.limit);
  hold_out(data, validation_rows(spec, data.train.targets.size(0)), seed);
  data.mean = spec.mean;
  data.std = spec.std;
  if (data.mean.empty()) measure_normalisation(data);
  const auto channels = static_cast<size_t>(data.shape[0]);
  if (data.mean.size() != channels) {
    throw Error("data.mean: expected " + std::to_string(channels) +
                " numbers, one per channel of the data, found " + std::to_string(data.mean.size()));
  }
  if (data.train.targets.size(0) < spec.batch) {
    throw Error("data.batch: " + std::to_string(spec.batch) + " is more than the " +
                std::to_string(data.train.targets.size(0)) +
                " training rows without the validation rows; make it smaller");
  }
  return data;
}

}  // namespace qat::train
