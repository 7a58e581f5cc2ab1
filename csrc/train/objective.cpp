#include "train/objective.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>

#include <utility>

#include "objectives/distillation.h"
#include "train/autocast.h"
#include "train/loss.h"

namespace qat::train {
namespace {

ModelOutputs run(const ObjectiveParts& parts, const at::Tensor& inputs) {
  const AutocastGuard autocast(parts.phase.bfloat16);
  ModelOutputs outputs = parts.forward(inputs);
  outputs.logits = outputs.logits.to(at::kFloat);
  return outputs;
}

// A quantized layer computes its weight's gradient wherever the weight requires one, also for a
// backward pass that asks for that of the input alone.
class FrozenParameters {
 public:
  explicit FrozenParameters(const std::vector<at::Tensor>& parameters) {
    for (const at::Tensor& parameter : parameters) {
      if (parameter.requires_grad()) frozen_.push_back(parameter.requires_grad_(false));
    }
  }
  ~FrozenParameters() {
    for (const at::Tensor& parameter : frozen_) parameter.requires_grad_();
  }
  FrozenParameters(const FrozenParameters&) = delete;
  FrozenParameters& operator=(const FrozenParameters&) = delete;

 private:
  std::vector<at::Tensor> frozen_;
};

// In eval(): neither the running statistics nor the ranges follow the search, and dropout is off.
at::Tensor attacked(const ObjectiveParts& parts, const Batch& batch, int64_t epoch, int64_t index) {
  const FrozenParameters frozen(parts.parameters);
  parts.set_training(false);
  const Forward forward = [&](const at::Tensor& x) { return run(parts, x).logits; };
  const at::Tensor inputs = (*parts.attack)(forward, batch, epoch, index);
  parts.set_training(true);
  return inputs;
}

// The first or second half of the rows. A feature may have several rows per sample (heads,
// windows).
ModelOutputs half(const ModelOutputs& all, int64_t which) {
  const auto cut = [which](const at::Tensor& tensor) { return tensor.chunk(2)[which]; };
  ModelOutputs part{cut(all.logits), {}};
  for (const at::Tensor& feature : all.features) part.features.push_back(cut(feature));
  return part;
}

at::Tensor loss_of(const ObjectiveParts& parts, const ModelOutputs& student,
                   const ModelOutputs& teacher, const at::Tensor& targets) {
  const double smoothing = parts.phase.label_smoothing;
  if (!parts.distill) return classification_loss(student.logits, targets, smoothing);
  const DistillSpec& spec = *parts.distill;
  at::Tensor loss = distillation_loss(
      student.logits, teacher.logits, targets,
      {.temperature = spec.temperature, .weight = spec.weight, .label_smoothing = smoothing});
  for (size_t i = 0; i < spec.features.size(); ++i) {
    loss = loss + feature_loss(student.features[i].to(at::kFloat), teacher.features[i]) *
                      spec.features[i].weight;
  }
  return loss;
}

StepLoss data_loss(const ObjectiveParts& parts, const Batch& batch, int64_t epoch, int64_t index) {
  // The teacher sees the clean inputs alone: its answer to them is what attacked ones should get.
  const ModelOutputs teacher =
      parts.teacher != nullptr ? parts.teacher->forward(batch.inputs) : ModelOutputs{};
  const auto loss = [&](const ModelOutputs& student) {
    return loss_of(parts, student, teacher, batch.targets);
  };
  if (!parts.attack) {
    const ModelOutputs student = run(parts, batch.inputs);
    return {loss(student), student.logits.detach()};
  }
  const at::Tensor moved = attacked(parts, batch, epoch, index);
  if (parts.attack_weight == 1.0) {
    const ModelOutputs student = run(parts, moved);
    return {loss(student), student.logits.detach()};
  }
  // One forward for both, so that statistics and ranges are taken once, from all that is trained
  // on.
  const ModelOutputs both = run(parts, at::cat({batch.inputs, moved}));
  const ModelOutputs clean = half(both, 0), adversarial = half(both, 1);
  const double share = parts.attack_weight;
  return {loss(clean) * (1 - share) + loss(adversarial) * share, clean.logits.detach()};
}

StepLoss evaluate_step(const ObjectiveParts& parts, const Batch& batch, int64_t epoch,
                       int64_t index) {
  StepLoss step = data_loss(parts, batch, epoch, index);
  if (parts.penalty) step.loss = step.loss + parts.penalty();
  return step;
}

}  // namespace

Objective make_objective(ObjectiveParts parts) {
  return [parts = std::move(parts)](const Batch& batch, int64_t epoch, int64_t index) {
    return evaluate_step(parts, batch, epoch, index);
  };
}

}  // namespace qat::train
