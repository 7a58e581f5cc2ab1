#pragma once
// Losses by which a quantized model learns from a float one (docs/methods.md, Distillation).

#include <ATen/core/Tensor.h>

namespace qat {

struct DistillationOptions {
  double temperature = 4.0;      // above 0; both logits are divided by it
  double weight = 0.9;           // 0 to 1, share of the teacher's part
  double label_smoothing = 0.0;  // 0 to 1, of the cross entropy
};

// (1 - weight) * CE(student, targets) + weight * T^2 * KL(softmax(teacher / T) ||
// softmax(student / T)), float[], the mean over the batch (Hinton et al. 2015).
// logits: float[B, K], no gradient flows into the teacher's; targets: int64[B]. Throws Error.
at::Tensor distillation_loss(const at::Tensor& student_logits, const at::Tensor& teacher_logits,
                             const at::Tensor& targets, const DistillationOptions& options = {});

// float[]: mean((student - teacher)^2) / mean(teacher^2) (Romero et al. 2015, without a regressor).
// Two tensors of one shape; no gradient flows into the teacher's. Throws Error.
at::Tensor feature_loss(const at::Tensor& student, const at::Tensor& teacher);

}  // namespace qat
