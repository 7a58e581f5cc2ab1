#include "objectives/attack.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/clamp.h>
#include <ATen/ops/maximum.h>
#include <ATen/ops/minimum.h>
#include <ATen/ops/rand.h>
#include <torch/csrc/autograd/autograd.h>

#include <sstream>

#include "error.h"

namespace qat {
namespace {

using Loss = std::function<at::Tensor(const at::Tensor&)>;

void require_positive(const char* name, const at::Tensor& value) {
  if (value.gt(0).all().item<bool>()) return;
  std::ostringstream text;
  text << "pgd: " << name << ": expected above 0, got " << value.min().item<double>();
  throw Error(text.str());
}

void require_given(const char* name, const at::Tensor& value) {
  if (value.defined()) return;
  throw Error(std::string("pgd: ") + name +
              ": expected a tensor in the units of the inputs, got none; give every option of "
              "AttackOptions but step and generator");
}

void check(const AttackOptions& options) {
  require_given("epsilon", options.epsilon);
  require_given("low", options.low);
  require_given("high", options.high);
  require_positive("epsilon", options.epsilon);
  if (options.steps < 1) {
    throw Error("pgd: steps: expected 1 or more, got " + std::to_string(options.steps));
  }
  if (options.step.defined()) require_positive("step", options.step);
}

at::Tensor step_of(const AttackOptions& options) {
  if (options.step.defined()) return options.step;
  return options.epsilon * (2.5 / static_cast<double>(options.steps));
}

at::Tensor ascent_direction(const Loss& loss_of, const at::Tensor& inputs) {
  const at::AutoGradMode with_gradients(true);
  const at::Tensor x = inputs.detach().requires_grad_();
  const at::Tensor loss = loss_of(x);
  if (loss.numel() != 1 || !loss.requires_grad()) {
    throw Error(
        "pgd: loss: expected one number that depends on the inputs; the model or the loss detaches "
        "them, or returns a value per sample");
  }
  return torch::autograd::grad({loss}, {x})[0].sign();
}

}  // namespace

at::Tensor pgd(const Loss& loss_of, const at::Tensor& inputs, const AttackOptions& options) {
  check(options);
  const at::NoGradGuard no_grad;
  const at::Tensor clean = inputs.detach();
  const at::Tensor epsilon = options.epsilon.to(clean.options());
  const at::Tensor step = step_of(options).to(clean.options());
  const at::Tensor low =
      at::minimum(clean, at::maximum(clean - epsilon, options.low.to(clean.options())));
  const at::Tensor high =
      at::maximum(clean, at::minimum(clean + epsilon, options.high.to(clean.options())));
  at::Tensor x = clean;
  if (options.random_start) {
    const at::Tensor noise = at::rand(clean.sizes(), options.generator, clean.options());
    x = at::clamp(clean + epsilon * (noise * 2 - 1), low, high);
  }
  for (int64_t i = 0; i < options.steps; ++i) {
    x = at::clamp(x + ascent_direction(loss_of, x) * step, low, high);
  }
  return x;
}

}  // namespace qat
