#include "train/loss.h"

#include <ATen/ops/cross_entropy_loss.h>

namespace qat::train {

at::Tensor classification_loss(const at::Tensor& logits, const at::Tensor& targets,
                               double label_smoothing) {
  return at::cross_entropy_loss(logits, targets, {}, at::Reduction::Mean, /*ignore_index=*/-100,
                                label_smoothing);
}

}  // namespace qat::train
