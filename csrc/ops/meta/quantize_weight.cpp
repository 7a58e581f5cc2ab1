#include <ATen/ops/empty.h>
#include <torch/library.h>

#include "ops/check_quantize.h"

namespace qat::ops {
namespace {

std::tuple<at::Tensor, at::Tensor> results(const at::Tensor& weight, const WeightOptions& options) {
  const auto scales = check_quantize_weight(weight, options);
  const WeightOrder order(weight, options.axis);
  const auto ordered = order.apply(weight);
  return {order.restore(at::empty_symint(ordered.sym_sizes(), weight.options().dtype(at::kChar))),
          at::empty_symint({scales}, weight.options().dtype(at::kFloat))};
}

std::tuple<at::Tensor, at::Tensor> quantize_weight(const at::Tensor& weight, int64_t axis,
                                                   int64_t groups, int64_t bits, bool narrow,
                                                   bool power_of_two) {
  return results(weight, {axis, groups, bits, narrow, power_of_two});
}

using TensorVector = std::vector<at::Tensor>;

std::tuple<TensorVector, TensorVector> quantize_weights(
    at::TensorList weights, at::IntArrayRef axis, at::IntArrayRef groups, at::IntArrayRef bits,
    const c10::List<bool>& narrow, const c10::List<bool>& power_of_two) {
  const auto options = check_quantize_weights(weights, axis, groups, bits, narrow, power_of_two);
  TensorVector codes, scales;
  for (size_t i = 0; i < weights.size(); ++i) {
    auto [code, scale] = results(weights[i], options[i]);
    codes.push_back(std::move(code));
    scales.push_back(std::move(scale));
  }
  return {codes, scales};
}

}  // namespace

TORCH_LIBRARY_IMPL(qat_ext, Meta, m) {
  m.impl("quantize_weight", &quantize_weight);
  m.impl("quantize_weights", &quantize_weights);
}

}  // namespace qat::ops
