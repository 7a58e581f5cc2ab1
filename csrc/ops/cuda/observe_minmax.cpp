#include <torch/library.h>

#include "ops/chain.h"
#include "ops/check_quantize.h"
#include "ops/cuda/device.h"
#include "ops/cuda/reduction.h"

namespace qat::ops::cuda {
namespace {

// One channel: the order of the elements does not matter to a range.
at::Tensor rows_of(const at::Tensor& x, int64_t axis) {
  const auto real = x.to(at::kFloat);
  if (axis != -1) return to_rows(real, axis);
  return real.is_non_overlapping_and_dense() ? real : real.contiguous();
}

void observe_minmax(const at::Tensor& x, at::Tensor min, at::Tensor max, at::Tensor count,
                    int64_t axis, double momentum) {
  check_observe_minmax(x, min, max, count, axis, momentum);
  if (x.numel() == 0) return;
  const OnDeviceOf device(x);
  const auto rows = rows_of(x, axis);
  const auto blocks = column_blocks(rows.numel(), axis == -1 ? 1 : rows.size(-1));
  auto keys = empty_keys(blocks.columns() + blocks.channels, rows.options());
  auto low = min.contiguous(), high = max.contiguous();
  kernels::cuda::observe_minmax(rows.const_data_ptr<float>(), blocks, static_cast<float>(momentum),
                                keys_of(keys), low.mutable_data_ptr<float>(),
                                high.mutable_data_ptr<float>(), count.mutable_data_ptr<int64_t>(),
                                device.stream());
  if (!low.is_same(min)) min.copy_(low);
  if (!high.is_same(max)) max.copy_(high);
  // Whether a finite value was there is known to the device alone, so the versions move in any
  // case.
  for (const at::Tensor& written : {min, max, count}) {
    if (!written.is_inference()) written.unsafeGetTensorImpl()->bump_version();
  }
}

}  // namespace

TORCH_LIBRARY_IMPL(qat_ext, CUDA, m) { m.impl("observe_minmax_", &observe_minmax); }

}  // namespace qat::ops::cuda
