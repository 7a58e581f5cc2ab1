#pragma once
// What one training step minimises.

#include <functional>

#include "train/adversarial.h"
#include "train/distill.h"

namespace qat::train {

struct StepLoss {
  at::Tensor loss;    // of the whole step, with its history
  at::Tensor logits;  // [B, K], one row per target, for the log
};

using Objective = std::function<StepLoss(const Batch& batch, int64_t epoch, int64_t index)>;

struct ObjectiveParts {
  PhaseSpec phase;
  // One training forward; features as `distill` names them.
  std::function<ModelOutputs(const at::Tensor& inputs)> forward;
  std::function<void(bool training)> set_training;
  std::vector<at::Tensor> parameters;  // of the model, which an attack does not differentiate
  std::optional<DistillSpec> distill;
  std::shared_ptr<const Teacher> teacher;  // with `distill`
  std::optional<Attack> attack;
  double attack_weight = 1.0;
  std::function<at::Tensor()> penalty;  // added to the loss of a training forward; may be empty
};

Objective make_objective(ObjectiveParts parts);

}  // namespace qat::train
