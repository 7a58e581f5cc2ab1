#include <ATen/ops/empty_like.h>
#include <torch/library.h>

#include "kernels/cuda/kernels.h"
#include "ops/check_quantize.h"
#include "ops/cuda/device.h"

namespace qat::ops::cuda {
namespace {

at::Tensor lookup(const at::Tensor& codes, const at::Tensor& table, int64_t quant_min) {
  check_lookup(codes, table, quant_min);
  const OnDeviceOf device(codes);
  auto out = at::empty_like(codes, codes.options().dtype(table.scalar_type()));
  const auto dense =
      codes.strides() == out.strides() ? codes : at::empty_like(out, codes.options()).copy_(codes);
  const auto entries = table.contiguous();
  kernels::cuda::lookup({entries.const_data_ptr(), entries.numel(), quant_min,
                         codes.scalar_type() == at::kChar, table.scalar_type() == at::kFloat},
                        static_cast<const uint8_t*>(dense.const_data_ptr()), codes.numel(),
                        out.mutable_data_ptr(), device.stream());
  return out;
}

}  // namespace

TORCH_LIBRARY_IMPL(qat_ext, CUDA, m) { m.impl("lookup", &lookup); }

}  // namespace qat::ops::cuda
