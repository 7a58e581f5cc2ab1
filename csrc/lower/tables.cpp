#include "lower/tables.h"

#include <ATen/ops/aminmax.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/ones_like.h>
#include <torch/csrc/autograd/autograd.h>

#include "insert/island.h"
#include "numerics/quantize.h"

namespace qat::lower {
namespace {

at::Tensor all_reals(const insert::Codes& input) {
  const int64_t size = int64_t{1} << input.format.bits;
  at::Tensor reals = at::empty({size}, at::kFloat);
  float* out = reals.data_ptr<float>();
  for (int64_t i = 0; i < size; ++i) {
    const auto code = static_cast<int32_t>(i) + input.format.quant_min();
    out[i] = numerics::dequantize(code, input.params.zero_point, input.params.scale);
  }
  return reals;
}

}  // namespace

UnaryTable unary_table(const c10::OperatorHandle& op, std::vector<c10::IValue> arguments,
                       const insert::Codes& input) {
  at::AutoGradMode enable(true);
  const at::Tensor reals = all_reals(input).requires_grad_();
  torch::jit::Stack stack(arguments.begin(), arguments.end());
  stack[0] = reals;
  insert::call_island(op, stack, /*allow_autocast=*/false);
  const at::Tensor values = stack.back().toTensor();
  const auto slopes = torch::autograd::grad({values}, {reals}, {at::ones_like(values)});
  return {values.detach(), slopes[0]};
}

at::Tensor reachable(const at::Tensor& table, const insert::Codes& input) {
  if (input.codes.numel() == 0) return table;
  const auto [lo, hi] = at::aminmax(input.codes);
  const int64_t first = lo.to(at::kLong).item<int64_t>() - input.format.quant_min();
  const int64_t last = hi.to(at::kLong).item<int64_t>() - input.format.quant_min();
  return table.narrow(0, first, last - first + 1);
}

}  // namespace qat::lower
