// Means of codes: exact sums, then one product (rule 10).

#include <ATen/TensorOperators.h>
#include <ATen/ops/avg_pool2d.h>
#include <ATen/ops/avg_pool3d.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/tensor.h>

#include <algorithm>

#include "insert/node_mean.h"
#include "insert/nodes_common.h"
#include "insert/ops_calls.h"
#include "insert/replayed_call.h"
#include "insert/session.h"

namespace qat::insert {
namespace {

using capture::Kind;

// Sums of centred codes and the number of terms at each position.
struct Sums {
  at::Tensor sum, count;
};

Sums window_sums(const at::Tensor& centred, const graph::AvgPoolAttributes& a) {
  const int64_t spatial = static_cast<int64_t>(a.kernel.size());
  const auto pool = [&](const at::Tensor& t, bool include_pad, std::optional<int64_t> divisor) {
    const auto two_d = [&](const at::Tensor& x, at::IntArrayRef k, at::IntArrayRef s,
                           at::IntArrayRef p) {
      return at::avg_pool2d(x, k, s, p, a.ceil_mode, include_pad, divisor);
    };
    if (spatial == 3) {
      return at::avg_pool3d(t, a.kernel, a.stride, a.padding, a.ceil_mode, include_pad, divisor);
    }
    if (spatial == 2) return two_d(t, a.kernel, a.stride, a.padding);
    return two_d(t.unsqueeze(-2), {1, a.kernel[0]}, {1, a.stride[0]}, {0, a.padding[0]})
        .squeeze(-2);
  };
  // float64 with divisor 1: a window of 2^30 codes would still be summed exactly.
  Sums sums{pool(centred.to(at::kDouble), true, 1), {}};
  auto shape = centred.sizes().vec();
  shape[0] = shape[1] = 1;
  const at::Tensor ones = at::ones(shape, at::kDouble);
  if (a.divisor_override != 0) {
    sums.count = at::full({1}, a.divisor_override, at::kDouble);
  } else if (a.count_include_pad) {
    // The mean of ones is inside / n, so their sum over their mean is n.
    sums.count = pool(ones, true, 1) / pool(ones, true, std::nullopt);
    sums.count = sums.count.round();
  } else {
    sums.count = pool(ones, true, 1);
  }
  return sums;
}

Sums adaptive_sums(const at::Tensor& centred, const std::vector<int64_t>& output) {
  const int64_t spatial = static_cast<int64_t>(output.size());
  Sums sums{centred.to(at::kDouble), at::ones({1}, at::kDouble)};
  for (int64_t i = 0; i < spatial; ++i) {
    const int64_t axis = centred.dim() - spatial + i;
    const int64_t in = centred.size(axis), out = output[i];
    std::vector<at::Tensor> parts;
    std::vector<double> counts;
    for (int64_t k = 0; k < out; ++k) {
      const int64_t start = k * in / out, stop = ((k + 1) * in + out - 1) / out;
      parts.push_back(sums.sum.narrow(axis, start, stop - start).sum(axis, true));
      counts.push_back(static_cast<double>(stop - start));
    }
    sums.sum = at::cat(parts, axis);
    std::vector<int64_t> shape(centred.dim(), 1);
    shape[axis] = out;
    sums.count = sums.count * at::tensor(counts, at::kDouble).view(shape);
  }
  return sums;
}

// Whether the mean is over all positions of [N, C, positions...].
bool is_over_positions(const capture::Arguments& arguments, Kind kind, int64_t rank) {
  if (rank < 3) return false;
  if (kind == Kind::adaptive_avg_pool) {
    const auto output = capture::parse_adaptive(arguments, rank - 2);
    return static_cast<int64_t>(output.size()) == rank - 2 &&
           std::all_of(output.begin(), output.end(), [](int64_t size) { return size == 1; });
  }
  if (kind != Kind::mean) return false;
  const auto axes = capture::parse_mean(arguments, rank)->axes;  // ascending
  return static_cast<int64_t>(axes.size()) == rank - 2 && axes.front() == 2;
}

// average() of numerics/, elementwise: the count is small, so scale / n is computed per position.
at::Tensor averages(const Sums& sums, float scale) {
  const at::Tensor count = sums.count.to(at::kFloat);
  return sums.sum.to(at::kFloat) * (at::full({1}, scale, at::kFloat) / count);
}

}  // namespace

at::Tensor Session::average_positions(const Call& call, const at::Tensor& input) {
  const Codes& codes = *payload_of(input)->codes;
  const at::Tensor sum = call::sum_codes(codes);
  auto sizes = sum.sizes().vec();
  if (call.known.kind == Kind::adaptive_avg_pool ||
      capture::parse_mean(call.arguments, input.dim())->keepdim) {
    sizes.resize(input.dim(), 1);
  }
  const auto positions = static_cast<double>(input.numel() / sum.numel());
  const Sums sums{sum.view(sizes), at::full({1}, positions, at::kDouble)};
  const at::Tensor source = mean_of_positions(input, averages(sums, codes.params.scale));
  return outcome(call, real_chain(source), Nominal::like(source));
}

at::Tensor Session::average(Call& call) {
  const at::Tensor input = codes_operand(call, 0);
  const Codes& codes = *payload_of(input)->codes;
  if (is_over_positions(call.arguments, call.known.kind, input.dim()) && input.numel() > 0) {
    return average_positions(call, input);
  }
  const int64_t spatial = input.dim() - 2;
  const at::Tensor centred = codes.codes.to(at::kInt) - codes.params.zero_point;
  Sums sums;
  if (call.known.kind == Kind::avg_pool) {
    sums = window_sums(centred, capture::parse_avg_pool(call.arguments, spatial));
  } else if (call.known.kind == Kind::adaptive_avg_pool) {
    sums = adaptive_sums(centred, capture::parse_adaptive(call.arguments, spatial));
  } else {
    const auto mean = capture::parse_mean(call.arguments, input.dim());
    double n = 1;
    for (const int64_t axis : mean->axes) n *= static_cast<double>(input.size(axis));
    sums = {centred.sum(mean->axes, mean->keepdim, at::kLong), at::full({1}, n, at::kDouble)};
  }
  const at::Tensor real = averages(sums, codes.params.scale);
  const auto op = call.op;
  const auto arguments = copy_arguments(call.arguments);
  const Replay spec{{input},
                    [op, arguments](const std::vector<at::Tensor>& reals) {
                      return call_with(op, arguments, reals);
                    },
                    false};
  const at::Tensor source = replay(spec, {{nullptr, real, Nominal::like(real)}})[0];
  return outcome(call, real_chain(source), Nominal::like(source));
}

}  // namespace qat::insert
