#include <torch/library.h>

#include "ops/cuda/chain_view.h"
#include "ops/cuda/device.h"

namespace qat::ops::cuda {
namespace {

at::Tensor requantize(const at::Tensor& acc, const at::Tensor& multiplier,
                      const OptionalTensor& bias, const at::Tensor& scale,
                      const at::Tensor& zero_point, int64_t axis, int64_t quant_min,
                      int64_t quant_max) {
  const QuantizerArguments quantizer{scale, zero_point, quant_min, quant_max};
  check_requantize(acc, multiplier, bias, quantizer, axis);
  const OnDeviceOf device(acc);
  const OptionalTensor given = multiplier, none;
  const ChainView view({"requantize", acc, given, bias, none, none, none, none, axis, 0, 0, 0},
                       &quantizer);
  auto codes = empty_rows_like(acc, axis, code_type(quant_min));
  kernels::cuda::bn_act_quantize(view.chain(), static_cast<uint8_t*>(codes.mutable_data_ptr()),
                                 nullptr, nullptr, device.stream());
  return codes;
}

}  // namespace

TORCH_LIBRARY_IMPL(qat_ext, CUDA, m) { m.impl("requantize", &requantize); }

}  // namespace qat::ops::cuda
