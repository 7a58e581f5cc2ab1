#pragma once
// Inputs moved to where a model's loss is large (docs/methods.md, Adversarial training).

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <functional>
#include <optional>

namespace qat {

// Tensors are broadcast over the inputs and in their units.
struct AttackOptions {
  at::Tensor epsilon{};      // above 0, how far a value may move
  at::Tensor step{};         // above 0; undefined: 2.5 epsilon / steps, to the border from anywhere
  at::Tensor low{}, high{};  // the interval of valid inputs
  int64_t steps = 7;         // 1 or more
  bool random_start = true;  // begin at a random point within epsilon instead of at the inputs
  std::optional<at::Generator> generator = std::nullopt;  // of that point; default torch's own
};

// Projected gradient ascent (Madry et al. 2018); one step of length epsilon without a random start
// is FGSM (Goodfellow et al. 2015). An input outside of the interval moves inwards only, and no
// further than epsilon.
//
// loss_of: float[] of the inputs, differentiated with respect to them alone. The model's mode is
// the caller's affair. inputs: float[B, ...]. The result has no history. Throws Error.
at::Tensor pgd(const std::function<at::Tensor(const at::Tensor& inputs)>& loss_of,
               const at::Tensor& inputs, const AttackOptions& options);

}  // namespace qat
