// Between a call's operands and results and the quantizers the plan gives them.

#include <ATen/ops/aminmax.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>

#include "error.h"
#include "insert/nodes_common.h"
#include "insert/ops_calls.h"
#include "insert/session.h"

namespace qat::insert {
namespace {

at::Tensor range_of(const at::Tensor& values) {
  if (values.numel() == 0) return at::zeros({2}, at::kFloat);
  const auto [lo, hi] = at::aminmax(values.nan_to_num(0.0, 0.0, 0.0));
  return at::stack({lo, hi});
}

}  // namespace

int Session::expected_quantizer(const Call& call, size_t operand) const {
  const int edge = call.site->operands[operand];
  if (edge != kNoQuantizer) return edge;
  return plan_.value_quantizer[trace_.nodes[call.node].inputs()[operand]];
}

void Session::initialize(int quantizer, const at::Tensor& values) {
  if (bank_.initialized(quantizer)) return;
  if (!options_.training) {
    throw Error("forward: the quantizer '" + bank_.plan(quantizer).name +
                "' has seen no data; run calibrate(), or a training step, before eval().");
  }
  at::NoGradGuard no_grad;
  bank_.initialize(quantizer, values.detach(), range_of(values));
}

QuantizeTo Session::quantize_to(int quantizer, const at::Tensor& values) {
  QuantizeTo to;
  to.target = bank_.target(quantizer);
  to.observe = options_.observe && bank_.follows_training(quantizer);
  if (options_.learn) {
    const int64_t samples = values.dim() > 0 ? std::max<int64_t>(1, values.size(0)) : 1;
    to.learned = bank_.edges(quantizer, values.numel() / samples);
  }
  to.fused = plan_.numerics.fused;
  to.report = [this, quantizer](const at::Tensor& range) { bank_.observe(quantizer, range); };
  return to;
}

at::Tensor Session::quantize_edge(const at::Tensor& real, int quantizer) {
  const auto known = tracked_.find(real.unsafeGetTensorImpl());
  const bool tracked = known != tracked_.end() && known->second.tensor.use_count() > 0;
  if (tracked && known->second.quantizer == quantizer && known->second.codes.defined() &&
      known->second.region == current_region() &&
      (real.is_inference() || known->second.version == real._version())) {
    const bool history = at::GradMode::is_enabled() && real.requires_grad();
    if (!history || known->second.codes.requires_grad()) return known->second.codes;
  }
  if (!bank_.initialized(quantizer)) initialize(quantizer, real.detach().to(at::kFloat));
  const at::Tensor codes = quantize_real(real.to(at::kFloat), quantize_to(quantizer, real));
  payload_of(codes)->record = record_;
  if (tracked) {
    known->second.codes = codes;
    known->second.quantizer = quantizer;
    known->second.version = real.is_inference() ? 0 : real._version();
    known->second.region = current_region();
  }
  return codes;
}

at::Tensor Session::codes_operand(Call& call, size_t operand) {
  // `operand` counts schema arguments of layers and tensors of other calls; the first of either
  // is the data.
  const at::Tensor tensor = call.known.kind == capture::Kind::linear
                                ? call.arguments.at(operand).toTensor()
                                : call.operands[operand];
  const Payload* payload = payload_of(tensor);
  if (payload != nullptr && payload->codes) return tensor;
  size_t index = 0;
  while (!call.operands[index].is_same(tensor)) ++index;
  const int quantizer = expected_quantizer(call, index);
  if (quantizer == kNoQuantizer) {
    throw Error("forward: '" + call.name() + "' (" + call.known.stem +
                ") got a float tensor where the plan has codes: the operators before it differ "
                "from those of the example inputs.");
  }
  if (payload == nullptr) return quantize_edge(tensor, quantizer);
  Chain chain = chain_of(tensor, false);
  if (!bank_.initialized(quantizer)) initialize(quantizer, call::bn_act(chain));
  return make_codes(std::move(chain), Nominal::like(tensor), quantize_to(quantizer, tensor));
}

at::Tensor Session::outcome(const Call& call, Chain chain, const Nominal& nominal) {
  const int quantizer = call.site->output;
  if (quantizer == kNoQuantizer) return make_pending(std::move(chain), nominal);
  if (!bank_.initialized(quantizer)) initialize(quantizer, call::bn_act(chain));
  const QuantizeTo to = quantize_to(quantizer, chain.acc);
  return make_codes(std::move(chain), nominal, to);
}

ReplayOutput Session::codes_output(const at::Tensor& codes, const Codes& like,
                                   const at::Tensor& nominal) {
  return {codes_payload(with_codes(like, codes)), at::Tensor(), Nominal::like(nominal)};
}

void Session::observe_real(const at::Tensor& tensor, int quantizer) {
  if (!tensor.is_floating_point() || !bank_.follows_data(quantizer)) return;
  const at::NoGradGuard no_grad;
  const at::Tensor values = realize(tensor).detach().to(at::kFloat);
  if (bank_.needs_values(quantizer)) {
    bank_.observe_values(quantizer, values);
  } else {
    bank_.observe(quantizer, range_of(values));
  }
}

bool Session::observes_real(const Call& call) const {
  return call.site != nullptr && options_.observe && !options_.recompute;
}

void Session::observe_operands(const Call& call) {
  for (size_t i = 0; i < call.operands.size(); ++i) {
    const int quantizer = call.site->operands[i];
    if (quantizer != kNoQuantizer) observe_real(call.operands[i], quantizer);
  }
}

void Session::observe_results(const Call& call, const Results& results) {
  if (call.site->output == kNoQuantizer) return;
  for (const at::Tensor& result : results) observe_real(result, call.site->output);
}

// Calibration: the operator runs in float, and what the plan quantizes is observed.
void Session::calibrate(Call& call) {
  if (observes_real(call)) observe_operands(call);
  const size_t returns = call.op.schema().returns().size();
  call.op.callBoxed(&call.stack);
  for (size_t i = call.stack.size() - returns; i < call.stack.size(); ++i) {
    const c10::IValue& value = call.stack[i];
    std::vector<at::Tensor> results;
    if (value.isTensor() && value.toTensor().defined()) results = {value.toTensor()};
    if (value.isTensorList()) results = value.toTensorVector();
    offer(call, results);
    for (const at::Tensor& result : results) remember(result, call.origin);
    if (observes_real(call)) observe_results(call, results);
    if (!real_probe || call.site == nullptr || call.site->output == kNoQuantizer) continue;
    for (const at::Tensor& result : results) real_probe(call.name(), result);
  }
}

}  // namespace qat::insert
