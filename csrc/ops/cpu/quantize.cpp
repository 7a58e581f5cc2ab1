#include <ATen/ops/empty_like.h>
#include <torch/library.h>

#include "ops/check_quantize.h"
#include "ops/cpu/elementwise.h"

namespace qat::ops {
namespace {

at::Tensor quantize(const at::Tensor& x, const at::Tensor& scale, const at::Tensor& zero_point,
                    int64_t axis, int64_t quant_min, int64_t quant_max) {
  check_fake_quantize("quantize", x, scale, zero_point, axis, quant_min, quant_max);
  auto codes = at::empty_like(x, x.options().dtype(code_type(quant_min)));
  const auto real = float_like(x, codes);
  const float* in = real.const_data_ptr<float>();
  auto* out = static_cast<uint8_t*>(codes.mutable_data_ptr());
  for_each_element_range(memory_layout(codes, axis), scale, zero_point, quant_min, quant_max, {},
                         [=](const kernels::Quantizer& q, int64_t begin, int64_t count) {
                           kernels::kernels().quantize(q, in + begin, out + begin, count);
                         });
  return codes;
}

at::Tensor dequantize(const at::Tensor& codes, const at::Tensor& scale,
                      const at::Tensor& zero_point, int64_t axis) {
  check_dequantize(codes, scale, zero_point, axis);
  auto real = at::empty_like(codes, codes.options().dtype(at::kFloat));
  const auto dense = codes.strides() == real.strides()
                         ? codes
                         : at::empty_like(real, codes.options()).copy_(codes);
  const bool is_signed = codes.scalar_type() == at::kChar;
  const auto* in = static_cast<const uint8_t*>(dense.const_data_ptr());
  float* out = real.mutable_data_ptr<float>();
  for_each_element_range(memory_layout(real, axis), scale, zero_point, 0, 0, {out, 5},
                         [=](const kernels::Quantizer& q, int64_t begin, int64_t count) {
                           kernels::kernels().dequantize(q, in + begin, is_signed, out + begin,
                                                         count);
                         });
  return real;
}

}  // namespace

TORCH_LIBRARY_IMPL(qat_ext, CPU, m) {
  m.impl("quantize", &quantize);
  m.impl("dequantize", &dequantize);
}

}  // namespace qat::ops
