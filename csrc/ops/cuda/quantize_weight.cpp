#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <algorithm>

#include "kernels/cuda/kernels.h"
#include "ops/check_quantize.h"
#include "ops/cuda/device.h"

namespace qat::ops::cuda {
namespace {

using kernels::cuda::WeightLayout;

WeightLayout weight_layout(const at::Tensor& weight, int64_t axis, int64_t groups) {
  if (axis == -1) return {1, 1, 1, weight.numel()};
  const int64_t rows = weight.size(0);
  if (axis == 0) return {1, 1, rows, weight.numel() / std::max<int64_t>(1, rows)};
  const int64_t columns = weight.size(1);
  return {groups, rows / groups, columns, weight.numel() / std::max<int64_t>(1, rows * columns)};
}

std::tuple<at::Tensor, at::Tensor> quantize_weight(const at::Tensor& weight, int64_t axis,
                                                   int64_t groups, int64_t bits, bool narrow,
                                                   bool power_of_two) {
  const int64_t count = check_quantize_weight(weight, axis, groups, bits).expect_int();
  const OnDeviceOf device(weight);
  const WeightOrder order(weight, axis);
  const auto real = order.apply(weight).to(at::kFloat).contiguous();
  const auto layout = weight_layout(weight, axis, groups);
  auto codes = at::empty(real.sizes(), weight.options().dtype(at::kChar));
  auto scales = at::empty({count}, weight.options().dtype(at::kFloat));
  auto magnitudes =
      at::empty({count * kernels::cuda::weight_parts(layout)}, weight.options().dtype(at::kInt));
  kernels::cuda::quantize_weight(
      layout, {static_cast<int>(bits), true, narrow}, power_of_two, real.const_data_ptr<float>(),
      magnitudes.mutable_data_ptr<int32_t>(), scales.mutable_data_ptr<float>(),
      codes.mutable_data_ptr<int8_t>(), device.stream());
  return {order.restore(codes), scales};
}

}  // namespace

TORCH_LIBRARY_IMPL(qat_ext, CUDA, m) { m.impl("quantize_weight", &quantize_weight); }

}  // namespace qat::ops::cuda
