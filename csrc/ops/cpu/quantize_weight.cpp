#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <algorithm>

#include "kernels/cpu/kernels.h"
#include "numerics/qparams.h"
#include "numerics/quantize.h"
#include "ops/check_quantize.h"
#include "ops/cpu/elementwise.h"

namespace qat::ops {
namespace {

// A contiguous weight as [groups, stretches, columns, inner]: one scale per (group, column),
// whose elements are `stretches` runs of `inner`.
struct WeightLayout {
  int64_t groups, stretches, columns, inner;
};

WeightLayout weight_layout(const at::Tensor& weight, int64_t axis, int64_t groups) {
  if (axis == -1) return {1, 1, 1, weight.numel()};
  const int64_t rows = weight.size(0);
  if (axis == 0) return {1, 1, rows, weight.numel() / std::max<int64_t>(1, rows)};
  const int64_t columns = weight.size(1);
  const int64_t inner = weight.numel() / std::max<int64_t>(1, rows * columns);
  return {groups, rows / groups, columns, inner};
}

struct WeightJob {
  WeightLayout layout;
  const float* weight;
  int8_t* codes;
  float* scales;
  numerics::IntFormat format;
  bool power_of_two;
};

void quantize_channel(const WeightJob& job, int64_t channel) {
  const auto& [groups, stretches, columns, inner] = job.layout;
  const int64_t group = channel / columns, column = channel % columns;
  const auto offset = [&](int64_t s) {
    return ((group * stretches + s) * columns + column) * inner;
  };
  const auto& kernels = kernels::kernels();
  float absmax = 0.0f;
  for (int64_t s = 0; s < stretches; ++s) {
    absmax = std::max(absmax, kernels.absmax(job.weight + offset(s), inner));
  }
  const float scale = numerics::weight_scale(absmax, job.format, job.power_of_two);
  const float inverse = numerics::inverse_scale(scale);
  const int32_t zero_point = 0;
  const kernels::Quantizer q{&scale,
                             &inverse,
                             &zero_point,
                             static_cast<float>(job.format.quant_min()),
                             static_cast<float>(job.format.quant_max()),
                             1};
  for (int64_t s = 0; s < stretches; ++s) {
    auto* codes = reinterpret_cast<uint8_t*>(job.codes + offset(s));
    kernels.quantize(q, job.weight + offset(s), codes, inner);
  }
  job.scales[channel] = scale;
}

std::tuple<at::Tensor, at::Tensor> quantize_weight(const at::Tensor& weight, int64_t axis,
                                                   int64_t groups, int64_t bits, bool narrow,
                                                   bool power_of_two) {
  const int64_t count = check_quantize_weight(weight, axis, groups, bits).expect_int();
  const WeightOrder order(weight, axis);
  const auto real = order.apply(weight).to(at::kFloat).contiguous();
  auto codes = at::empty(real.sizes(), weight.options().dtype(at::kChar));
  auto scales = at::empty({count}, weight.options().dtype(at::kFloat));
  const WeightJob job{weight_layout(weight, axis, groups),    real.const_data_ptr<float>(),
                      codes.mutable_data_ptr<int8_t>(),       scales.mutable_data_ptr<float>(),
                      {static_cast<int>(bits), true, narrow}, power_of_two};
  const int64_t each = std::max<int64_t>(1, job.layout.stretches * job.layout.inner);
  at::parallel_for(0, count, std::max<int64_t>(1, kGrain / each), [&](int64_t begin, int64_t end) {
    for (int64_t channel = begin; channel < end; ++channel) quantize_channel(job, channel);
  });
  return {order.restore(codes), scales};
}

}  // namespace

TORCH_LIBRARY_IMPL(qat_ext, CPU, m) { m.impl("quantize_weight", &quantize_weight); }

}  // namespace qat::ops
