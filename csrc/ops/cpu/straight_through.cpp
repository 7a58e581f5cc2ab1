#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/empty_strided.h>
#include <ATen/ops/zeros.h>
#include <torch/library.h>

#include <algorithm>
#include <mutex>

#include "kernels/cpu/range_keys.h"
#include "ops/check_quantize.h"
#include "ops/cpu/elementwise.h"

namespace qat::ops {
namespace {

using kernels::Quantizer;

std::tuple<at::Tensor, at::Tensor> fake_quantize_with_mask(const at::Tensor& x,
                                                           const at::Tensor& scale,
                                                           const at::Tensor& zero_point,
                                                           int64_t axis, int64_t quant_min,
                                                           int64_t quant_max) {
  check_fake_quantize("fake_quantize_with_mask", x, scale, zero_point, axis, quant_min, quant_max);
  auto result = at::empty_like(x, x.options().dtype(at::kFloat)), mask = empty_mask(x);
  const auto real = float_like(x, result);
  const float* in = real.const_data_ptr<float>();
  float* out = result.mutable_data_ptr<float>();
  auto* bytes = mask.mutable_data_ptr<uint8_t>();
  for_each_element_range(memory_layout(result, axis), scale, zero_point, quant_min, quant_max,
                         {out, 8}, [=](const Quantizer& q, int64_t begin, int64_t count) {
                           kernels::kernels().fake_quantize_with_mask(q, in + begin, out + begin,
                                                                      count, {bytes, begin});
                         });
  return {result.to(x.scalar_type()), mask};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> quantize_with_mask(const at::Tensor& x,
                                                                  const at::Tensor& scale,
                                                                  const at::Tensor& zero_point,
                                                                  int64_t axis, int64_t quant_min,
                                                                  int64_t quant_max) {
  check_fake_quantize("quantize_with_mask", x, scale, zero_point, axis, quant_min, quant_max);
  auto codes = at::empty_like(x, x.options().dtype(code_type(quant_min))), mask = empty_mask(x);
  const auto real = float_like(x, codes);
  const float* in = real.const_data_ptr<float>();
  auto* out = static_cast<uint8_t*>(codes.mutable_data_ptr());
  auto* bytes = mask.mutable_data_ptr<uint8_t>();
  kernels::RangeKeys all;
  std::mutex mutex;
  for_each_element_range(memory_layout(codes, axis), scale, zero_point, quant_min, quant_max, {},
                         [&](const Quantizer& q, int64_t begin, int64_t count) {
                           const auto keys = kernels::kernels().quantize_with_mask(
                               q, in + begin, out + begin, count, {bytes, begin});
                           const std::lock_guard lock(mutex);
                           kernels::merge(all, keys);
                         });
  auto range = at::zeros({2}, x.options().dtype(at::kFloat));
  if (kernels::is_set(all)) {
    float* ends = range.mutable_data_ptr<float>();
    ends[0] = numerics::float_at(all.minimum);
    ends[1] = numerics::float_at(all.maximum);
  }
  return {codes, mask, range};
}

at::Tensor straight_through(const at::Tensor& grad, const at::Tensor& mask,
                            at::IntArrayRef stride) {
  check_straight_through(grad, mask, c10::fromIntArrayRefSlow(stride));
  auto result = at::empty_strided(grad.sizes(), stride, grad.options().dtype(at::kFloat));
  const auto gradient = float_like(grad, result);
  const auto bits = mask.contiguous();
  const float* from = gradient.const_data_ptr<float>();
  const auto* bytes = bits.const_data_ptr<uint8_t>();
  float* out = result.mutable_data_ptr<float>();
  const int64_t total = result.numel();
  const bool streams = should_stream(total, kUniformStep, Streamed{out, 8});
  const auto run = [=](int64_t first, int64_t last) {
    const int64_t begin = first * kUniformStep, end = std::min(last * kUniformStep, total);
    kernels::kernels().straight_through(from + begin, bytes + begin / 8, out + begin, end - begin,
                                        streams);
  };
  at::parallel_for(0, (total + kUniformStep - 1) / kUniformStep, kCopyGrain / kUniformStep, run);
  return result.to(grad.scalar_type());
}

}  // namespace

TORCH_LIBRARY_IMPL(qat_ext, CPU, m) {
  m.impl("fake_quantize_with_mask", &fake_quantize_with_mask);
  m.impl("quantize_with_mask", &quantize_with_mask);
  m.impl("straight_through", &straight_through);
}

}  // namespace qat::ops
