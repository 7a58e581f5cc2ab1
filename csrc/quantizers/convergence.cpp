#include "quantizers/convergence.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/abs.h>
#include <ATen/ops/zeros.h>

namespace qat {

Convergence::Convergence(double threshold, int64_t count)
    : threshold_(threshold),
      anchor_(at::zeros({count}, at::kDouble)),
      steps_(at::zeros({1}, at::kLong)) {}

void Convergence::see(const at::Tensor& numbers, const at::Tensor& unit) {
  if (reached()) return;
  const bool near = steps_.item<int64_t>() > 0 &&
                    ((numbers - anchor_).abs() < unit.abs() * threshold_).all().item<bool>();
  if (near) {
    steps_.add_(1);
    return;
  }
  anchor_.copy_(numbers);
  steps_.fill_(1);
}

bool Convergence::reached() const { return steps_.item<int64_t>() > kConvergenceSteps; }

NamedTensors Convergence::state() const {
  return {{"convergence_anchor", anchor_}, {"convergence_steps", steps_}};
}

}  // namespace qat
