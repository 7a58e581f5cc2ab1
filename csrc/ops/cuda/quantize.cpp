#include <ATen/ops/empty_like.h>
#include <torch/library.h>

#include "ops/check_quantize.h"
#include "ops/cuda/device.h"
#include "ops/cuda/elements.h"
#include "ops/cuda/parameters.h"

namespace qat::ops::cuda {
namespace {

at::Tensor quantize(const at::Tensor& x, const at::Tensor& scale, const at::Tensor& zero_point,
                    int64_t axis, int64_t quant_min, int64_t quant_max) {
  check_fake_quantize("quantize", x, scale, zero_point, axis, quant_min, quant_max);
  const OnDeviceOf device(x);
  auto codes = at::empty_like(x, x.options().dtype(code_type(quant_min)));
  const auto real = float_like(x, codes);
  Parameters parameters;
  kernels::cuda::quantize(parameters.quantizer(scale, zero_point, quant_min, quant_max),
                          elements_of(codes, axis), real.const_data_ptr<float>(),
                          static_cast<uint8_t*>(codes.mutable_data_ptr()), device.stream());
  return codes;
}

at::Tensor dequantize(const at::Tensor& codes, const at::Tensor& scale,
                      const at::Tensor& zero_point, int64_t axis) {
  check_dequantize(codes, scale, zero_point, axis);
  const OnDeviceOf device(codes);
  auto real = at::empty_like(codes, codes.options().dtype(at::kFloat));
  const auto dense = codes.strides() == real.strides()
                         ? codes
                         : at::empty_like(real, codes.options()).copy_(codes);
  Parameters parameters;
  kernels::cuda::dequantize(parameters.quantizer(scale, zero_point, 0, 0), elements_of(real, axis),
                            static_cast<const uint8_t*>(dense.const_data_ptr()),
                            codes.scalar_type() == at::kChar, real.mutable_data_ptr<float>(),
                            device.stream());
  return real;
}

}  // namespace

TORCH_LIBRARY_IMPL(qat_ext, CUDA, m) {
  m.impl("quantize", &quantize);
  m.impl("dequantize", &dequantize);
}

}  // namespace qat::ops::cuda
