#include <torch/library.h>

#include "ops/check_quantize.h"
#include "ops/cuda/device.h"
#include "ops/cuda/reduction.h"

namespace qat::ops::cuda {
namespace {

// The value of `exponent` is known to the device alone, so it is limited rather than refused.
void observe_histogram(const at::Tensor& x, at::Tensor counts, at::Tensor exponent,
                       at::Tensor extremes, at::Tensor tally) {
  check_observe_histogram(x, {counts, exponent, extremes, tally});
  if (x.numel() == 0) return;
  const OnDeviceOf device(x);
  const auto real = x.to(at::kFloat);
  const auto dense = real.is_non_overlapping_and_dense() ? real : real.contiguous();
  const at::Tensor states[] = {counts, extremes, tally};
  at::Tensor written[3];
  for (int i = 0; i < 3; ++i) written[i] = states[i].contiguous();
  auto parts = empty_keys(kernels::cuda::histogram_parts(dense.numel()), dense.options());
  kernels::cuda::observe_histogram(
      dense.const_data_ptr<float>(), dense.numel(), keys_of(parts),
      {written[0].mutable_data_ptr<int64_t>(), exponent.mutable_data_ptr<int64_t>(),
       written[1].mutable_data_ptr<float>(), written[2].mutable_data_ptr<int64_t>()},
      device.stream());
  for (int i = 0; i < 3; ++i) {
    if (!written[i].is_same(states[i])) states[i].copy_(written[i]);
  }
  for (const at::Tensor& state : {counts, exponent, extremes, tally}) {
    if (!state.is_inference()) state.unsafeGetTensorImpl()->bump_version();
  }
}

}  // namespace

TORCH_LIBRARY_IMPL(qat_ext, CUDA, m) { m.impl("observe_histogram_", &observe_histogram); }

}  // namespace qat::ops::cuda
