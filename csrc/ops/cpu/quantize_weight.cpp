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
  WeightOrder order;
  at::Tensor weight, codes, scales;  // weight and codes in that order
  numerics::IntFormat format;
  bool power_of_two;

  int64_t channels() const { return scales.numel(); }
  int64_t channel_elements() const { return std::max<int64_t>(1, layout.stretches * layout.inner); }
};

WeightJob make_job(const at::Tensor& weight, const WeightOptions& options, int64_t scales) {
  const WeightOrder order(weight, options.axis);
  const auto real = order.apply(weight).to(at::kFloat).contiguous();
  return {weight_layout(weight, options.axis, options.groups),
          order,
          real,
          at::empty(real.sizes(), weight.options().dtype(at::kChar)),
          at::empty({scales}, weight.options().dtype(at::kFloat)),
          {static_cast<int>(options.bits), true, options.narrow},
          options.power_of_two};
}

void quantize_channel(const WeightJob& job, int64_t channel) {
  const auto& [groups, stretches, columns, inner] = job.layout;
  const int64_t group = channel / columns, column = channel % columns;
  const auto offset = [&](int64_t s) {
    return ((group * stretches + s) * columns + column) * inner;
  };
  const float* weight = job.weight.const_data_ptr<float>();
  const auto& kernels = kernels::kernels();
  float absmax = 0.0f;
  for (int64_t s = 0; s < stretches; ++s) {
    absmax = std::max(absmax, kernels.absmax(weight + offset(s), inner));
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
  auto* codes = static_cast<uint8_t*>(job.codes.mutable_data_ptr());
  for (int64_t s = 0; s < stretches; ++s) {
    kernels.quantize(q, weight + offset(s), codes + offset(s), inner);
  }
  job.scales.mutable_data_ptr<float>()[channel] = scale;
}

// The elements of all weights are one range, cut where channels begin: threads are woken once and
// share the smallest weights too.
void run(const std::vector<WeightJob>& jobs) {
  std::vector<int64_t> starts(1, 0);
  for (const WeightJob& job : jobs) {
    starts.push_back(starts.back() + job.channels() * job.channel_elements());
  }
  at::parallel_for(0, starts.back(), kGrain, [&](int64_t begin, int64_t end) {
    const auto first = std::upper_bound(starts.begin(), starts.end(), begin) - starts.begin() - 1;
    for (auto j = static_cast<size_t>(first); j < jobs.size() && starts[j] < end; ++j) {
      // A channel is done where its first element is.
      const auto channel_at = [&](int64_t element) {
        const int64_t each = jobs[j].channel_elements();
        const int64_t from = std::max<int64_t>(element - starts[j], 0);
        return std::min((from + each - 1) / each, jobs[j].channels());
      };
      for (int64_t c = channel_at(begin); c < channel_at(end); ++c) quantize_channel(jobs[j], c);
    }
  });
}

std::tuple<at::Tensor, at::Tensor> quantize_weight(const at::Tensor& weight, int64_t axis,
                                                   int64_t groups, int64_t bits, bool narrow,
                                                   bool power_of_two) {
  const WeightOptions options{axis, groups, bits, narrow, power_of_two};
  const int64_t count = check_quantize_weight(weight, options).expect_int();
  const std::vector<WeightJob> jobs{make_job(weight, options, count)};
  run(jobs);
  return {jobs[0].order.restore(jobs[0].codes), jobs[0].scales};
}

using TensorVector = std::vector<at::Tensor>;

std::tuple<TensorVector, TensorVector> quantize_weights(
    at::TensorList weights, at::IntArrayRef axis, at::IntArrayRef groups, at::IntArrayRef bits,
    const c10::List<bool>& narrow, const c10::List<bool>& power_of_two) {
  const auto options = check_quantize_weights(weights, axis, groups, bits, narrow, power_of_two);
  std::vector<WeightJob> jobs;
  for (size_t i = 0; i < weights.size(); ++i) {
    const int64_t count = check_quantize_weight(weights[i], options[i]).expect_int();
    jobs.push_back(make_job(weights[i], options[i], count));
  }
  run(jobs);
  TensorVector codes, scales;
  for (const WeightJob& job : jobs) {
    codes.push_back(job.order.restore(job.codes));
    scales.push_back(job.scales);
  }
  return {codes, scales};
}

}  // namespace

TORCH_LIBRARY_IMPL(qat_ext, CPU, m) {
  m.impl("quantize_weight", &quantize_weight);
  m.impl("quantize_weights", &quantize_weights);
}

}  // namespace qat::ops
