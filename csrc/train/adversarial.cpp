#include "train/adversarial.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/clamp.h>
#include <ATen/ops/full.h>
#include <ATen/ops/maximum.h>
#include <ATen/ops/minimum.h>
#include <ATen/ops/rand.h>
#include <torch/csrc/autograd/autograd.h>

#include <utility>

#include "train/loss.h"

namespace qat::train {
namespace {

// Other numbers than those of the augmentation of the same batch.
constexpr uint64_t kAttackStream = 0x61747461636b;

at::Tensor ascent_direction(const Forward& forward, const at::Tensor& inputs,
                            const at::Tensor& targets) {
  const at::AutoGradMode with_gradients(true);
  const at::Tensor x = inputs.detach().requires_grad_();
  const at::Tensor loss = classification_loss(forward(x).to(at::kFloat), targets, 0.0);
  return torch::autograd::grad({loss}, {x})[0].sign();
}

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

at::Tensor perturb(const Forward& forward, const Batch& batch, const AttackSpec& spec,
                   const InputBounds& bounds, at::Generator generator) {
  const at::NoGradGuard no_grad;
  const at::Tensor& clean = batch.inputs;
  const at::Tensor radius = bounds.unit * spec.epsilon;
  // An input beyond what training data can be moves inwards only, and no further than the radius.
  const at::Tensor low = at::minimum(clean, at::maximum(clean - radius, bounds.low));
  const at::Tensor high = at::maximum(clean, at::minimum(clean + radius, bounds.high));
  at::Tensor x = clean;
  if (spec.random_start) {
    const at::Tensor noise = at::rand(clean.sizes(), std::move(generator), clean.options());
    x = at::clamp(clean + radius * (noise * 2 - 1), low, high);
  }
  for (int64_t step = 0; step < spec.steps; ++step) {
    const at::Tensor direction = ascent_direction(forward, x, batch.targets);
    x = at::clamp(x + direction * (bounds.unit * spec.step), low, high);
  }
  return x;
}

at::Tensor Attack::operator()(const Forward& forward, const Batch& batch, int64_t epoch,
                              int64_t index) const {
  return perturb(forward, batch, spec, bounds, random_stream(seed ^ kAttackStream, epoch, index));
}

AttackedBatches::AttackedBatches(BatchSource& clean, Forward forward, Attack attack)
    : clean_(clean), forward_(std::move(forward)), attack_(std::move(attack)) {}

Batch AttackedBatches::batch(int64_t epoch, int64_t index) {
  Batch batch = clean_.batch(epoch, index);
  batch.inputs = attack_(forward_, batch, epoch, index);
  return batch;
}

}  // namespace qat::train
