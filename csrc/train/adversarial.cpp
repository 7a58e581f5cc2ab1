#include "train/adversarial.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>

#include <utility>

#include "objectives/attack.h"
#include "train/loss.h"

namespace qat::train {
namespace {

// Other numbers than those of the augmentation of the same batch.
constexpr uint64_t kAttackStream = 0x61747461636b;

}  // namespace

InputBounds input_bounds(const DataSet& data) {
  const at::Tensor& inputs = data.train.inputs;
  const Normalisation normalise = normalisation_of(data, inputs.scalar_type());
  const at::Tensor unit = (1.0 / per_channel(data.std, inputs.dim()));
  if (inputs.scalar_type() == at::kByte) {
    const at::Tensor zero = at::full({1}, 0.0, at::kFloat), most = at::full({1}, 255.0, at::kFloat);
    return {normalise(zero), normalise(most), unit};
  }
  std::vector<int64_t> axes;
  for (int64_t axis = 0; axis < inputs.dim(); ++axis) {
    if (axis != 1) axes.push_back(axis);
  }
  return {normalise(inputs.amin(axes, true)), normalise(inputs.amax(axes, true)), unit};
}

at::Tensor Attack::operator()(const Forward& forward, const Batch& batch, int64_t epoch,
                              int64_t index) const {
  const auto loss_of = [&](const at::Tensor& inputs) {
    return classification_loss(forward(inputs).to(at::kFloat), batch.targets, 0.0);
  };
  return pgd(loss_of, batch.inputs,
             {.epsilon = bounds.unit * spec.epsilon,
              .step = bounds.unit * spec.step,
              .low = bounds.low,
              .high = bounds.high,
              .steps = spec.steps,
              .random_start = spec.random_start,
              .generator = random_stream(seed ^ kAttackStream, epoch, index)});
}

AttackedBatches::AttackedBatches(BatchSource& clean, Forward forward, Attack attack)
    : clean_(clean), forward_(std::move(forward)), attack_(std::move(attack)) {}

Batch AttackedBatches::batch(int64_t epoch, int64_t index) {
  Batch batch = clean_.batch(epoch, index);
  batch.inputs = attack_(forward_, batch, epoch, index);
  return batch;
}

}  // namespace qat::train
