// Layout and pooling operators on codes. Their derivative is that of the float operator, so
// backward runs the float operator once more on a stand-in and differentiates it.

#include <ATen/ops/empty.h>
#include <torch/csrc/autograd/autograd.h>

#include "insert/gradient_node.h"
#include "insert/nodes_common.h"
#include "insert/ops_calls.h"

namespace qat::insert {
namespace {

struct Operand {
  std::vector<int64_t> sizes;
  at::Tensor value;            // real; undefined where the derivative needs none
  std::optional<Codes> codes;  // or codes
};

struct ReplayDerivative {
  static constexpr const char* kName = "qat_ext::ReplayBackward";
  ReplayedOp op;
  std::vector<Operand> operands;

  template <typename F>
  void tensors(F&& f) {
    for (Operand& operand : operands) {
      f(operand.value);
      if (operand.codes) visit_tensors(*operand.codes, f);
    }
  }
  variable_list operator()(const variable_list& grads, const Wanted&) const {
    variable_list proxies, results, found, given;
    {
      const at::AutoGradMode enable(true);
      for (const Operand& operand : operands) proxies.push_back(stand_in(operand));
      results = op(proxies);
    }
    for (size_t i = 0; i < grads.size(); ++i) {
      if (!grads[i].defined()) continue;
      found.push_back(results[i]);
      given.push_back(grads[i]);
    }
    return torch::autograd::grad(found, proxies, given, /*retain_graph=*/std::nullopt,
                                 /*create_graph=*/false, /*allow_unused=*/true);
  }

 private:
  // Its value where the derivative needs it, else only its sizes.
  static at::Tensor stand_in(const Operand& operand) {
    const at::Tensor proxy = operand.codes             ? call::dequantize(*operand.codes)
                             : operand.value.defined() ? operand.value.detach()
                                                       : at::empty(operand.sizes, at::kFloat);
    return proxy.requires_grad_();
  }
};

std::vector<Operand> kept_operands(const Replay& replay) {
  std::vector<Operand> kept;
  for (const at::Tensor& input : replay.inputs) {
    Operand operand{input.sizes().vec(), {}, {}};
    const Payload* payload = payload_of(input);
    if (replay.uses_values && payload != nullptr) operand.codes = *payload->codes;
    if (replay.uses_values && payload == nullptr) operand.value = input;
    kept.push_back(std::move(operand));
  }
  return kept;
}

}  // namespace

std::vector<at::Tensor> replay(const Replay& replay, const std::vector<ReplayOutput>& outputs) {
  std::vector<const at::Tensor*> operands;
  for (const at::Tensor& input : replay.inputs) operands.push_back(&input);
  const bool recorded = wants_gradient(operands);
  std::vector<at::Tensor> results;
  for (const ReplayOutput& output : outputs) {
    results.push_back(output.payload != nullptr
                          ? make_like(output.payload, output.nominal, replay.inputs[0].device())
                          : output.real);
  }
  if (recorded) attach(results, ReplayDerivative{replay.op, kept_operands(replay)}, operands);
  return results;
}

}  // namespace qat::insert
