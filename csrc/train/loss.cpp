#include "train/loss.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/kl_div.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/softmax.h>

namespace qat::train {

at::Tensor classification_loss(const at::Tensor& logits, const at::Tensor& targets,
                               double label_smoothing) {
  return at::cross_entropy_loss(logits, targets, {}, at::Reduction::Mean, /*ignore_index=*/-100,
                                label_smoothing);
}

at::Tensor soft_target_loss(const at::Tensor& student, const at::Tensor& teacher,
                            double temperature) {
  const at::Tensor divergence =
      at::kl_div(at::log_softmax(student / temperature, 1), at::softmax(teacher / temperature, 1),
                 at::Reduction::Sum);
  return divergence * (temperature * temperature / static_cast<double>(student.size(0)));
}

at::Tensor feature_loss(const at::Tensor& student, const at::Tensor& teacher) {
  // A dead teacher feature, all zeros, must not make the loss infinite.
  constexpr double kSmallest = 1e-12;
  return (student - teacher).square().mean() / teacher.square().mean().clamp_min(kSmallest);
}

}  // namespace qat::train
