#pragma once
// State that outlives the forward in which it is made.

#include <ATen/core/grad_mode.h>
#include <c10/core/InferenceMode.h>

namespace qat::insert {

// While it lives, tensors are ordinary ones and have no history. A validation pass under
// torch.inference_mode() would else leave scales behind that no later backward may save.
struct KeptState {
  const c10::InferenceMode ordinary{false};  // switches gradients on, so it comes first
  const at::NoGradGuard no_grad;
};

}  // namespace qat::insert
