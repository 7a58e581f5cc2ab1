// Operators that work on codes: tables, layout.

#include <ATen/SavedTensorHooks.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <torch/csrc/autograd/autograd.h>

#include "insert/island.h"
#include "insert/node_ranges.h"
#include "insert/nodes_common.h"
#include "insert/ops_calls.h"
#include "insert/replayed_call.h"
#include "insert/session.h"
#include "lower/tables.h"
#include "numerics/quantize.h"
#include "numerics/requantize.h"

namespace qat::insert {
namespace {

using capture::Kind;

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

}  // namespace

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
