#include "insert/node_ranges.h"

#include <ATen/ops/ones_like.h>

#include "insert/ops_calls.h"
#include "quantizers/calls.h"

namespace qat::insert {

QuantizerBackward quantizer_backward_of(const QuantizeTo& to) {
  return {to.target.format, to.learned.scale.defined(), to.learned.zero_point.defined(),
          to.learned.clipped_only};
}

QuantizerGradients backpropagate(const QuantizerBackward& quantizer, const at::Tensor& grad,
                                 const at::Tensor& x, const at::Tensor& scale,
                                 const at::Tensor& zero_point) {
  if (!quantizer.learned()) {
    return {
        quantizers::call::fake_quantize_backward(grad, x, scale, zero_point, -1, quantizer.format),
        {},
        {}};
  }
  auto all = quantizers::call::fake_quantize_learned_backward(
      grad, x, scale, zero_point.to(at::kFloat), -1, quantizer.format, quantizer.clipped_only);
  return {all.x, quantizer.scale ? all.scale : at::Tensor(),
          quantizer.zero_point ? all.zero_point : at::Tensor()};
}

QuantizerGradients table_terms(const QuantizeTo& to, const at::Tensor& values) {
  const QuantizerBackward quantizer = quantizer_backward_of(to);
  if (!quantizer.learned()) return {};
  const int64_t entries = values.numel();
  const at::Tensor scale = to.target.scale.expand({entries}).contiguous();
  const at::Tensor zero_point = to.target.zero_point.expand({entries}).to(at::kFloat).contiguous();
  auto all = quantizers::call::fake_quantize_learned_backward(at::ones_like(values), values, scale,
                                                              zero_point, 0, quantizer.format,
                                                              quantizer.clipped_only);
  return {all.x, quantizer.scale ? all.scale : at::Tensor(),
          quantizer.zero_point ? all.zero_point : at::Tensor()};
}

}  // namespace qat::insert
