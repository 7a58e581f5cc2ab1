// Operators that work on codes: tables, pooling, layout.

#include <ATen/SavedTensorHooks.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/avg_pool1d.h>
#include <ATen/ops/avg_pool2d.h>
#include <ATen/ops/avg_pool3d.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/ones.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>

#include "insert/island.h"
#include "insert/node_mean.h"
#include "insert/node_ranges.h"
#include "insert/nodes_common.h"
#include "insert/ops_calls.h"
#include "insert/session.h"
#include "lower/tables.h"
#include "numerics/quantize.h"
#include "numerics/requantize.h"

namespace qat::insert {
namespace {

using capture::Kind;

// The call's operator on other tensors: first the operands, everything else as in the call.
std::vector<at::Tensor> call_with(const c10::OperatorHandle& op,
                                  const std::vector<c10::IValue>& arguments,
                                  const std::vector<at::Tensor>& tensors) {
  torch::jit::Stack stack(arguments.begin(), arguments.end());
  if (stack[0].isTensorList()) {
    stack[0] = c10::List<at::Tensor>(tensors);
  } else {
    stack[0] = tensors[0];
  }
  op.callBoxed(&stack);
  std::vector<at::Tensor> results;
  for (const c10::IValue& value : stack) {
    if (value.isTensor()) results.push_back(value.toTensor());
    if (value.isTensorList()) results = value.toTensorVector();
  }
  return results;
}

std::vector<c10::IValue> copy_arguments(const capture::Arguments& arguments) {
  std::vector<c10::IValue> copy;
  for (size_t i = 0; i < arguments.size(); ++i) copy.push_back(arguments.at(i));
  copy[0] = c10::IValue();  // must not keep the operand alive
  return copy;
}

// ATen's max pooling of bytes counts positions in bytes as well, and gives up on real images; its
// upsampling knows no int8. Every code is exact as float32.
std::vector<at::Tensor> move_codes(const c10::OperatorHandle& op,
                                   const std::vector<c10::IValue>& arguments,
                                   const at::Tensor& codes, bool in_float) {
  if (!in_float) return call_with(op, arguments, {codes});
  auto moved = call_with(op, arguments, {codes.to(at::kFloat)});
  for (at::Tensor& part : moved) part = part.to(codes.scalar_type());
  return moved;
}

bool is_view(const c10::OperatorHandle& op) {
  const auto& returns = op.schema().returns();
  return !returns.empty() && returns[0].alias_info() != nullptr;
}

// Autograd of the session's own does not go through the hooks with which the model's saved tensors
// are packed (activation checkpointing, offloading).
class NoSavedTensorHooks {
 public:
  NoSavedTensorHooks() : previous_(at::SavedTensorDefaultHooks::set_tracing(true)) {}
  ~NoSavedTensorHooks() { at::SavedTensorDefaultHooks::set_tracing(previous_); }
  NoSavedTensorHooks(const NoSavedTensorHooks&) = delete;
  NoSavedTensorHooks& operator=(const NoSavedTensorHooks&) = delete;

 private:
  bool previous_;
};

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
    return std::all_of(output.begin(), output.end(), [](int64_t size) { return size == 1; });
  }
  if (kind != Kind::mean) return false;
  auto axes = capture::parse_mean(arguments, rank)->axes;
  std::sort(axes.begin(), axes.end());
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

std::optional<Session::Results> Session::unary(Call& call) {
  const at::Tensor input = codes_operand(call, 0);
  const Codes& codes = *payload_of(input)->codes;
  const auto op = call.known.in_place ? capture::functional(call.op) : call.op;
  const auto reals = [&] {
    const NoSavedTensorHooks no_hooks;
    return lower::unary_table(op, copy_arguments(call.arguments), codes);
  }();
  const int quantizer = call.site->output;
  if (quantizer == kNoQuantizer) {
    return Results{lookup(input, {reals.values, reals.slopes, {}, {}, {}}, nullptr)};
  }
  const at::Tensor seen = lower::reachable(reals.values, codes);
  initialize(quantizer, seen);
  const QuantizeTo to = quantize_to(quantizer, codes.codes);
  if (to.observe) {
    const auto [lo, hi] = at::aminmax(seen);
    to.report(at::stack({lo, hi}));
  }
  const at::Tensor entries = call::quantize(reals.values, to.target);
  const at::Tensor slopes = call::fake_quantize_backward(reals.slopes, reals.values, to.target);
  const QuantizerGradients terms = table_terms(to, reals.values);
  return Results{
      lookup(input, {entries, slopes, terms.scale, terms.zero_point, to.learned}, &to.target)};
}

std::optional<Session::Results> Session::concat(Call& call) {
  if (call.site->output == kNoQuantizer) return std::nullopt;
  const Codes& target = bank_.target(call.site->output);
  std::vector<at::Tensor> inputs, parts;
  for (size_t i = 0; i < call.operands.size(); ++i) {
    at::Tensor operand = codes_operand(call, i);
    if (payload_of(operand)->codes->params != bank_.target(call.site->output).params) {
      operand = quantize_real(realize(operand), quantize_to(call.site->output, operand));
    }
    inputs.push_back(operand);
    parts.push_back(payload_of(operand)->codes->codes);
  }
  const int64_t axis = call.arguments.get("dim").toInt();
  const at::Tensor codes = at::cat(parts, axis);
  const Replay spec{inputs,
                    [axis](const std::vector<at::Tensor>& reals) {
                      return std::vector<at::Tensor>{at::cat(reals, axis)};
                    },
                    false};
  const bool channels_last =
      call.operands[0].suggest_memory_format() != at::MemoryFormat::Contiguous;
  ReplayOutput output{
      codes_payload(with_codes(target, codes)), {}, Nominal::dense(codes.sizes(), channels_last)};
  return replay(spec, {output});
}

std::optional<Session::Results> Session::layout(Call& call) {
  if (call.site->output == kNoQuantizer) return std::nullopt;
  const at::Tensor input = codes_operand(call, 0);
  const Codes& codes = *payload_of(input)->codes;
  const auto op = call.known.in_place ? capture::functional(call.op) : call.op;
  auto arguments = copy_arguments(call.arguments);
  const Replay spec{{input},
                    [op, arguments](const std::vector<at::Tensor>& reals) {
                      return call_with(op, arguments, reals);
                    },
                    call.known.kind == Kind::max_pool};
  if (call.known.kind == Kind::pad) {
    const auto pad = capture::parse_pad(call.arguments, input.dim());
    const numerics::IntFormat& f = codes.format;
    const auto value = numerics::quantize(
        static_cast<float>(pad->value), numerics::inverse_scale(codes.params.scale),
        static_cast<float>(codes.params.zero_point), static_cast<float>(f.quant_min()),
        static_cast<float>(f.quant_max()));
    const auto index = call.arguments.index_of("value");
    arguments[*index] = op.schema().name() == "aten::pad" ? c10::IValue(static_cast<double>(value))
                                                          : c10::IValue(at::Scalar(value));
  }
  const auto moved = move_codes(
      op, arguments, to_nominal(codes.codes, Nominal::like(input)),
      /*in_float=*/call.known.kind == Kind::max_pool || call.known.kind == Kind::upsample_nearest);
  const bool channels_last = input.suggest_memory_format() != at::MemoryFormat::Contiguous;
  std::vector<ReplayOutput> outputs;
  for (const at::Tensor& part : moved) {
    outputs.push_back(
        {codes_payload(with_codes(codes, part)),
         {},
         is_view(op) ? Nominal::like(part) : Nominal::dense(part.sizes(), channels_last)});
  }
  auto results = replay(spec, outputs);
  if (is_view(op)) {
    for (const at::Tensor& result : results) share_memory(result, call.operands[0]);
  }
  return results;
}

std::optional<Session::Results> Session::dropout(Call& call) {
  const bool active = call.arguments.get("train").toBool();
  const double probability = call.arguments.get("p").toDouble();
  if (!active || probability == 0.0) return Results{call.operands[0]};
  const Payload* payload = payload_of(call.operands[0]);
  if (payload == nullptr || !payload->codes || call.known.stem != "dropout") return std::nullopt;
  return Results{insert::dropout(call.operands[0], probability)};
}

}  // namespace qat::insert
