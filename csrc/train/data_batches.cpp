#include <ATen/CPUGeneratorImpl.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/index.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randperm.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/where.h>

#include <algorithm>

#include "train/data.h"

namespace qat::train {
namespace {

// SplitMix64's finaliser: neighbouring (seed, epoch, index) get unrelated streams.
uint64_t mix(uint64_t value) {
  value += 0x9e3779b97f4a7c15;
  value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9;
  value = (value ^ value >> 27) * 0x94d049bb133111eb;
  return value ^ value >> 31;
}

// Mirrors each image with probability 1/2 and moves it by up to `shift` pixels, zeros coming in.
// images: uint8 or float32 [B, C, H, W].
at::Tensor augment(const at::Tensor& images, bool flip, int64_t shift, at::Generator generator) {
  const int64_t batch = images.size(0), height = images.size(2), width = images.size(3);
  const auto long_type = at::TensorOptions().dtype(at::kLong);
  const at::Tensor dy = at::randint(0, 2 * shift + 1, {batch, 1}, generator, long_type);
  const at::Tensor dx = at::randint(0, 2 * shift + 1, {batch, 1}, generator, long_type);
  const at::Tensor ys = at::arange(height, long_type).unsqueeze(0) + dy;
  at::Tensor xs = at::arange(width, long_type).unsqueeze(0).expand({batch, width});
  if (flip) {
    const at::Tensor mirrored = at::randint(0, 2, {batch, 1}, generator, long_type).to(at::kBool);
    xs = at::where(mirrored, xs.flip(1), xs);
  }
  xs = xs + dx;
  const at::Tensor padded = at::constant_pad_nd(images, {shift, shift, shift, shift}, 0);
  const at::Tensor rows = at::arange(batch, long_type).view({batch, 1, 1});
  // [B, H, W, C]: the indexed axes come first.
  const at::Tensor picked =
      padded.permute({0, 2, 3, 1})
          .index({rows, ys.view({batch, height, 1}), xs.view({batch, 1, width})});
  return picked.permute({0, 3, 1, 2}).contiguous();
}

}  // namespace

at::Generator random_stream(uint64_t seed, int64_t epoch, int64_t index) {
  const auto key =
      mix(mix(seed + mix(static_cast<uint64_t>(epoch))) + static_cast<uint64_t>(index));
  return at::detail::createCPUGenerator(key);
}

at::Tensor per_channel(const std::vector<double>& values, int64_t rank) {
  std::vector<int64_t> shape(static_cast<size_t>(rank), 1);
  shape[1] = static_cast<int64_t>(values.size());
  return at::tensor(values, at::kDouble).to(at::kFloat).reshape(shape);
}

Normalisation normalisation_of(const DataSet& data, at::ScalarType type) {
  const double unit = type == at::kByte ? 255.0 : 1.0;
  std::vector<double> factor, offset;
  for (size_t c = 0; c < data.mean.size(); ++c) {
    factor.push_back(1.0 / (unit * data.std[c]));
    offset.push_back(-data.mean[c] / data.std[c]);
  }
  const auto rank = static_cast<int64_t>(data.shape.size()) + 1;
  return {per_channel(factor, rank), per_channel(offset, rank)};
}

at::Tensor Normalisation::operator()(const at::Tensor& raw) const {
  // Not mul_: rows of float data without shuffling are still those of the data set itself.
  return raw.to(at::kFloat).mul(factor).add_(offset);
}

TensorBatches::TensorBatches(const Split& split, const DataSet& data, const BatchOptions& options)
    : split_(split),
      normalise_(normalisation_of(data, split.inputs.scalar_type())),
      options_(options) {}

int64_t TensorBatches::batches() const {
  const int64_t rows = split_.targets.size(0);
  return options_.shuffle ? rows / options_.batch : (rows + options_.batch - 1) / options_.batch;
}

Batch TensorBatches::batch(int64_t epoch, int64_t index) {
  const int64_t rows = split_.targets.size(0);
  const int64_t first = index * options_.batch;
  const int64_t count = std::min(options_.batch, rows - first);
  at::Tensor inputs, targets;
  if (options_.shuffle) {
    if (order_epoch_ != epoch) {
      order_ = at::randperm(rows, random_stream(options_.seed, epoch, -1),
                            at::TensorOptions().dtype(at::kLong));
      order_epoch_ = epoch;
    }
    const at::Tensor chosen = order_.narrow(0, first, count);
    inputs = split_.inputs.index_select(0, chosen);
    targets = split_.targets.index_select(0, chosen);
  } else {
    inputs = split_.inputs.narrow(0, first, count);
    targets = split_.targets.narrow(0, first, count);
  }
  if (inputs.dim() == 4 && (options_.flip || options_.shift > 0)) {
    inputs =
        augment(inputs, options_.flip, options_.shift, random_stream(options_.seed, epoch, index));
  }
  return {normalise_(inputs), targets};
}

}  // namespace qat::train
