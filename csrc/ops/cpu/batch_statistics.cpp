#include <ATen/EmptyTensor.h>
#include <torch/library.h>

#include <algorithm>

#include "numerics/requantize.h"
#include "ops/cpu/chain_view.h"

namespace qat::ops {
namespace {

// The first row: subtracting it keeps the sum of squares free of cancellation where the mean is
// large against the deviation.
std::vector<float> first_row(const ChainView& view) {
  const kernels::Chain& chain = view.chain();
  std::vector<float> row(static_cast<size_t>(view.channels()));
  if (view.rows() == 0) return row;
  for (size_t c = 0; c < row.size(); ++c) {
    row[c] = numerics::real_value(chain.acc[c], chain.multiplier[c], chain.bias[c]);
  }
  return row;
}

std::tuple<at::Tensor, at::Tensor> batch_statistics(const at::Tensor& acc,
                                                    const OptionalTensor& multiplier,
                                                    const OptionalTensor& bias, int64_t axis) {
  check_batch_statistics(acc, multiplier, bias, axis);
  const OptionalTensor none;
  ChainView view(
      {"batch_statistics", acc, multiplier, bias, none, none, none, none, axis, 0, 0, 0});
  const auto shift = first_row(view);
  const float* shift_tile = view.tiled(shift);
  const auto sums = view.sum_over_rows(2, [&](int64_t begin, int64_t end, double* const* columns) {
    kernels::kernels().chain_statistics(view.chain(), shift_tile, begin, end, columns[0],
                                        columns[1]);
  });
  const at::Tensor mean = at::detail::empty_cpu({view.channels()}, at::kFloat);
  const at::Tensor variance = at::detail::empty_cpu({view.channels()}, at::kFloat);
  float* m = mean.mutable_data_ptr<float>();
  float* v = variance.mutable_data_ptr<float>();
  const auto rows = static_cast<double>(view.rows());
  for (size_t c = 0; c < shift.size(); ++c) {
    const double offset = sums[0][c] / rows;
    const double spread = sums[1][c] / rows - offset * offset;
    m[c] = static_cast<float>(static_cast<double>(shift[c]) + offset);
    v[c] = static_cast<float>(spread < 0.0 ? 0.0 : spread);
  }
  return {mean, variance};
}

}  // namespace

TORCH_LIBRARY_IMPL(qat_ext, CPU, m) { m.impl("batch_statistics", &batch_statistics); }

}  // namespace qat::ops
