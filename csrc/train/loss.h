#pragma once
// Losses of one batch, each the mean over its rows.

#include <ATen/core/Tensor.h>

namespace qat::train {

// logits: float32[B, K]; targets: int64[B].
at::Tensor classification_loss(const at::Tensor& logits, const at::Tensor& targets,
                               double label_smoothing);

// temperature^2 * KL(softmax(teacher / temperature) || softmax(student / temperature)): the factor
// keeps the gradient's size when the temperature changes (Hinton et al. 2015).
at::Tensor soft_target_loss(const at::Tensor& student, const at::Tensor& teacher,
                            double temperature);

// Mean squared error by the teacher's mean square (Romero et al. 2015, without a regressor).
at::Tensor feature_loss(const at::Tensor& student, const at::Tensor& teacher);

}  // namespace qat::train
