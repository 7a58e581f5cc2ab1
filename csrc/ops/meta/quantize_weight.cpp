#include <ATen/ops/empty.h>
#include <torch/library.h>

#include "ops/check_quantize.h"

namespace qat::ops {
namespace {

std::tuple<at::Tensor, at::Tensor> quantize_weight(const at::Tensor& weight, int64_t axis,
                                                   int64_t groups, int64_t bits, bool /*narrow*/,
                                                   bool /*power_of_two*/) {
  const auto scales = check_quantize_weight(weight, axis, groups, bits);
  const WeightOrder order(weight, axis);
  const auto ordered = order.apply(weight);
  return {order.restore(at::empty_symint(ordered.sym_sizes(), weight.options().dtype(at::kChar))),
          at::empty_symint({scales}, weight.options().dtype(at::kFloat))};
}

}  // namespace

TORCH_LIBRARY_IMPL(qat_ext, Meta, m) { m.impl("quantize_weight", &quantize_weight); }

}  // namespace qat::ops
