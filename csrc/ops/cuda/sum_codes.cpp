#include <torch/library.h>

#include "kernels/cuda/kernels.h"
#include "ops/chain.h"
#include "ops/conv_arguments.h"
#include "ops/cuda/device.h"

namespace qat::ops::cuda {
namespace {

at::Tensor sum_codes(const at::Tensor& codes, int64_t zero_point) {
  check_sum_codes(codes, zero_point);
  const OnDeviceOf device(codes);
  auto out = empty_code_sums(codes);
  if (out.numel() == 0) return out;
  const auto rows = to_rows(codes, 1);
  const int64_t images = codes.size(0), channels = codes.size(1);
  kernels::cuda::sum_codes({static_cast<const uint8_t*>(rows.const_data_ptr()),
                            codes.scalar_type() == at::kChar, static_cast<int32_t>(zero_point)},
                           {images, codes.numel() / (images * channels), channels},
                           out.mutable_data_ptr<int64_t>(), device.stream());
  return out;
}

}  // namespace

TORCH_LIBRARY_IMPL(qat_ext, CUDA, m) { m.impl("sum_codes", &sum_codes); }

}  // namespace qat::ops::cuda
