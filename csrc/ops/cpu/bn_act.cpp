#include <ATen/EmptyTensor.h>
#include <torch/library.h>

#include <mutex>

#include "kernels/cpu/range_keys.h"
#include "ops/cpu/chain_view.h"

namespace qat::ops {
namespace {

using kernels::RangeKeys;

at::Tensor bn_act(const at::Tensor& acc, const OptionalTensor& multiplier,
                  const OptionalTensor& bias, const OptionalTensor& residual,
                  const OptionalTensor& residual_scale, const OptionalTensor& residual_zero_point,
                  const OptionalTensor& slope, int64_t axis, int64_t activation, double p0,
                  double p1) {
  const ChainArguments arguments{
      "bn_act", acc,  multiplier, bias, residual, residual_scale, residual_zero_point,
      slope,    axis, activation, p0,   p1};
  check_chain(arguments);
  auto out = empty_rows_like(acc, axis, at::kFloat);
  const ChainView view(arguments);
  float* to = out.mutable_data_ptr<float>();
  view.for_each_range([&](int64_t begin, int64_t end) {
    kernels::kernels().chain_float(view.chain(), begin, end, to);
  });
  return out;
}

// Runs the chain and returns the range of its finite values.
RangeKeys run_quantized(const ChainView& view, bool observe, at::Tensor& codes) {
  auto* to = static_cast<uint8_t*>(codes.mutable_data_ptr());
  RangeKeys all;
  std::mutex mutex;
  view.for_each_range([&](int64_t begin, int64_t end) {
    RangeKeys keys;
    kernels::kernels().chain_quantize(view.chain(), begin, end, to, observe ? &keys : nullptr);
    const std::lock_guard lock(mutex);
    kernels::merge(all, keys);
  });
  return all;
}

std::tuple<at::Tensor, at::Tensor> bn_act_quantize(
    const at::Tensor& acc, const OptionalTensor& multiplier, const OptionalTensor& bias,
    const OptionalTensor& residual, const OptionalTensor& residual_scale,
    const OptionalTensor& residual_zero_point, const OptionalTensor& slope, const at::Tensor& scale,
    const at::Tensor& zero_point, int64_t axis, int64_t activation, double p0, double p1,
    int64_t quant_min, int64_t quant_max, bool observe) {
  const ChainArguments arguments{
      "bn_act_quantize",   acc,   multiplier, bias,       residual, residual_scale,
      residual_zero_point, slope, axis,       activation, p0,       p1};
  const QuantizerArguments quantizer{scale, zero_point, quant_min, quant_max};
  check_chain(arguments);
  check_chain_quantizer(arguments, quantizer);
  auto codes = empty_rows_like(acc, axis, code_type(quant_min));
  const RangeKeys keys = run_quantized(ChainView(arguments, &quantizer), observe, codes);
  const at::Tensor range = at::detail::empty_cpu({2}, at::kFloat);
  float* ends = range.mutable_data_ptr<float>();
  ends[0] = kernels::is_set(keys) ? numerics::float_at(keys.minimum) : 0.0f;
  ends[1] = kernels::is_set(keys) ? numerics::float_at(keys.maximum) : 0.0f;
  return {codes, range};
}

}  // namespace

TORCH_LIBRARY_IMPL(qat_ext, CPU, m) {
  m.impl("bn_act", &bn_act);
  m.impl("bn_act_quantize", &bn_act_quantize);
}

}  // namespace qat::ops
