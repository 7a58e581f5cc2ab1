#include <torch/library.h>

#include "kernels/cuda/kernels.h"
#include "ops/conv_arguments.h"
#include "ops/cuda/device.h"

namespace qat::ops::cuda {
namespace {

at::Tensor linear_int(const at::Tensor& codes, int64_t zero_point, const at::Tensor& weight) {
  check_linear_int(codes, zero_point, weight);
  const OnDeviceOf device(codes);
  auto out = empty_linear_output(codes, weight);
  if (out.numel() == 0) return out;
  const auto rows = codes.contiguous(), filters = weight.contiguous();
  const int64_t count = out.numel() / weight.size(0);
  kernels::cuda::linear_int({static_cast<const uint8_t*>(rows.const_data_ptr()),
                             codes.scalar_type() == at::kChar, static_cast<int32_t>(zero_point)},
                            filters.const_data_ptr<int8_t>(), count, weight.size(0), weight.size(1),
                            out.mutable_data_ptr<float>(), device.stream());
  return out;
}

}  // namespace

TORCH_LIBRARY_IMPL(qat_ext, CUDA, m) { m.impl("linear_int", &linear_int); }

}  // namespace qat::ops::cuda
