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

// The tensors behind one kernels::cuda::WeightJob.
struct WeightTensors {
  WeightOrder order;
  at::Tensor weight, codes, scales, magnitudes;
  kernels::cuda::WeightJob job;
};

WeightTensors make_tensors(const at::Tensor& weight, const WeightOptions& options) {
  const int64_t count = check_quantize_weight(weight, options).expect_int();
  const WeightOrder order(weight, options.axis);
  const auto layout = weight_layout(weight, options.axis, options.groups);
  const int64_t parts = kernels::cuda::weight_parts(layout);
  WeightTensors t{order, order.apply(weight).to(at::kFloat).contiguous(), {}, {}, {}, {}};
  t.codes = at::empty(t.weight.sizes(), weight.options().dtype(at::kChar));
  t.scales = at::empty({count}, weight.options().dtype(at::kFloat));
  t.magnitudes = at::empty({count * parts}, weight.options().dtype(at::kInt));
  t.job = {layout,
           {static_cast<int>(options.bits), true, options.narrow},
           options.power_of_two,
           t.weight.const_data_ptr<float>(),
           t.magnitudes.mutable_data_ptr<int32_t>(),
           t.scales.mutable_data_ptr<float>(),
           t.codes.mutable_data_ptr<int8_t>()};
  return t;
}

std::tuple<at::Tensor, at::Tensor> quantize_weight(const at::Tensor& weight, int64_t axis,
                                                   int64_t groups, int64_t bits, bool narrow,
                                                   bool power_of_two) {
  const OnDeviceOf device(weight);
  const auto t = make_tensors(weight, {axis, groups, bits, narrow, power_of_two});
  kernels::cuda::quantize_weights(&t.job, 1, device.stream());
  return {t.order.restore(t.codes), t.scales};
}

using TensorVector = std::vector<at::Tensor>;

std::tuple<TensorVector, TensorVector> quantize_weights(
    at::TensorList weights, at::IntArrayRef axis, at::IntArrayRef groups, at::IntArrayRef bits,
    const c10::List<bool>& narrow, const c10::List<bool>& power_of_two) {
  const auto options = check_quantize_weights(weights, axis, groups, bits, narrow, power_of_two);
  TensorVector codes, scales;
  if (weights.empty()) return {codes, scales};
  const OnDeviceOf device(weights[0]);
  std::vector<WeightTensors> kept;
  std::vector<kernels::cuda::WeightJob> jobs;
  for (size_t i = 0; i < weights.size(); ++i) {
    kept.push_back(make_tensors(weights[i], options[i]));
    jobs.push_back(kept.back().job);
    codes.push_back(kept.back().order.restore(kept.back().codes));
    scales.push_back(kept.back().scales);
  }
  kernels::cuda::quantize_weights(jobs.data(), static_cast<int64_t>(jobs.size()), device.stream());
  return {codes, scales};
}

}  // namespace

TORCH_LIBRARY_IMPL(qat_ext, CUDA, m) {
  m.impl("quantize_weight", &quantize_weight);
  m.impl("quantize_weights", &quantize_weights);
}

}  // namespace qat::ops::cuda
