#include "objectives/distillation.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/kl_div.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/softmax.h>

#include <sstream>

#include "error.h"

namespace qat {
namespace {

template <typename... Parts>
void require(bool holds, const Parts&... parts) {
  if (holds) return;
  std::ostringstream text;
  (text << ... << parts);
  throw Error(text.str());
}

void check(const at::Tensor& student, const at::Tensor& teacher, const at::Tensor& targets,
           const DistillationOptions& options) {
  require(options.temperature > 0, "distillation_loss: temperature: expected above 0, got ",
          options.temperature);
  require(options.weight >= 0 && options.weight <= 1,
          "distillation_loss: weight: expected 0 to 1, got ", options.weight);
  require(student.dim() == 2 && student.sizes() == teacher.sizes(),
          "distillation_loss: teacher_logits: expected the shape of student_logits, [B, K], got ",
          teacher.sizes(), " beside ", student.sizes());
  require(targets.sizes() == student.sizes().slice(0, 1) && targets.scalar_type() == at::kLong,
          "distillation_loss: targets: expected int64[", student.size(0), "], got ",
          targets.scalar_type(), " of shape ", targets.sizes());
}

// The factor T^2 keeps the gradient's size when the temperature changes.
at::Tensor soft_target_loss(const at::Tensor& student, const at::Tensor& teacher,
                            double temperature) {
  const at::Tensor divergence =
      at::kl_div(at::log_softmax(student / temperature, 1),
                 at::softmax(teacher.detach() / temperature, 1), at::Reduction::Sum);
  return divergence * (temperature * temperature / static_cast<double>(student.size(0)));
}

}  // namespace

at::Tensor distillation_loss(const at::Tensor& student_logits, const at::Tensor& teacher_logits,
                             const at::Tensor& targets, const DistillationOptions& options) {
  check(student_logits, teacher_logits, targets, options);
  const at::Tensor hard = at::cross_entropy_loss(student_logits, targets, {}, at::Reduction::Mean,
                                                 /*ignore_index=*/-100, options.label_smoothing);
  return hard * (1 - options.weight) +
         soft_target_loss(student_logits, teacher_logits, options.temperature) * options.weight;
}

at::Tensor feature_loss(const at::Tensor& student, const at::Tensor& teacher) {
  require(student.sizes() == teacher.sizes(),
          "feature_loss: teacher: expected the student's shape ", student.sizes(), ", got ",
          teacher.sizes());
  // A dead teacher feature, all zeros, must not make the loss infinite.
  constexpr double kSmallest = 1e-12;
  const at::Tensor wanted = teacher.detach();
  return (student - wanted).square().mean() / wanted.square().mean().clamp_min(kSmallest);
}

}  // namespace qat
