#include "train/data.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/randperm.h>

#include <algorithm>
#include <string_view>

#include "checkpoint/sha256.h"
#include "error.h"
#include "train/data_sources.h"
#include "train/fields.h"
#include "train/sizes_text.h"

namespace qat::train {
namespace {

void check_finite(const Loaded& loaded) {
  const at::Tensor& inputs = loaded.split.inputs;
  if (inputs.scalar_type() != at::kFloat) return;
  const at::Tensor finite = at::isfinite(inputs).flatten(1).all(1);
  if (finite.all().item<bool>()) return;
  const int64_t row = finite.to(at::kInt).argmin().item<int64_t>();
  throw Error(loaded.origin + ": " + loaded.place_of(row) +
              ": inputs must be finite, found NaN or infinity");
}

void check_labels(const Loaded& loaded, int64_t classes, bool given) {
  const at::Tensor& targets = loaded.split.targets;
  const at::Tensor wrong = targets.lt(0).logical_or(targets.ge(classes));
  if (!wrong.any().item<bool>()) return;
  const int64_t row = wrong.to(at::kInt).argmax().item<int64_t>();
  throw Error(loaded.label_origin + ": " + loaded.place_of(row) + ": label " +
              std::to_string(targets[row].item<int64_t>()) + " is outside 0 to " +
              std::to_string(classes - 1) +
              (given ? " (data.classes)" : " (the labels of the training data)"));
}

// The classes are counted by the largest label, which may be no label at all.
int64_t count_classes(const Loaded& loaded) {
  const at::Tensor& targets = loaded.split.targets;
  const int64_t largest = targets.max().item<int64_t>();
  if (largest < kMostClasses) return largest + 1;
  throw Error(loaded.label_origin + ": " + loaded.place_of(targets.argmax().item<int64_t>()) +
              ": label " + std::to_string(largest) + " is outside 0 to " +
              std::to_string(kMostClasses - 1) +
              "; is this the column of the labels? Give other labels the numbers from 0 on");
}

// Columns go by their position, whatever the header rows call them.
void check_same_samples(const Loaded& train, const Loaded& test) {
  const auto sizes = train.split.inputs.sizes().slice(1);
  const auto found = test.split.inputs.sizes().slice(1);
  if (sizes != found) {
    throw Error(test.origin + ": samples are " + sizes_text(found) + ", those of " + train.origin +
                " are " + sizes_text(sizes));
  }
  if (train.columns == test.columns) return;
  throw Error(test.origin + ": the columns besides the label are " + join(test.columns) +
              ", those of " + train.origin + " are " + join(train.columns) +
              "; give both files the same columns in the same order");
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
  const int64_t held = spec.validation ? spec.validation : std::clamp<int64_t>(rows / 12, 1, 5000);
  if (held >= rows) {
    const std::string key = spec.validation ? "data.validation: " : "data: ";
    throw Error(key + std::to_string(held) + " of the " + std::to_string(rows) + " training rows " +
                (held == 1 ? "leaves" : "leave") + " none to train on; " +
                (spec.validation      ? "make it smaller"
                 : spec.limit == rows ? "make data.limit larger"
                                      : "give more rows"));
  }
  if (rows - held < spec.batch) {
    throw Error("data.batch: " + std::to_string(spec.batch) + " is more than the " +
                std::to_string(rows - held) +
                " training rows without the validation rows; make it smaller");
  }
  return held;
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
  check_same_samples(train, test);
  data.shape = data.train.inputs.sizes().slice(1).vec();
  data.classes = spec.classes ? spec.classes : count_classes(train);
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
  return data;
}

}  // namespace qat::train
