#pragma once
// The loss of one batch, the mean over its rows.

#include <ATen/core/Tensor.h>

namespace qat::train {

// logits: float32[B, K]; targets: int64[B].
at::Tensor classification_loss(const at::Tensor& logits, const at::Tensor& targets,
                               double label_smoothing);

}  // namespace qat::train
