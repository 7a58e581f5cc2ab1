// Layout and pooling operators on codes. Their derivative is that of the float operator, so
// backward runs the float operator once more on a stand-in and differentiates it.

#include <ATen/ops/empty.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

#include "insert/nodes_common.h"
#include "insert/ops_calls.h"

namespace qat::insert {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

struct ReplaySpec {
  std::function<std::vector<at::Tensor>(const std::vector<at::Tensor>&)> op;
  bool uses_values;
  std::vector<std::vector<int64_t>> sizes;
  std::vector<bool> is_codes;
};

// Stand-ins for the inputs: their values where the derivative needs them, else only their sizes.
variable_list stand_ins(const ReplaySpec& spec, const variable_list& saved) {
  variable_list proxies;
  for (size_t i = 0; i < spec.sizes.size(); ++i) {
    const at::Tensor* entry = spec.uses_values ? &saved[3 * i] : nullptr;
    at::Tensor proxy;
    if (entry == nullptr) {
      proxy = at::empty(spec.sizes[i], at::kFloat);
    } else if (spec.is_codes[i]) {
      proxy = call::dequantize(Codes{entry[0], {}, {}, entry[1], entry[2]});
    } else {
      proxy = entry[0].detach();
    }
    proxies.push_back(proxy.requires_grad_());
  }
  return proxies;
}

struct ReplayNode : Function<ReplayNode> {
  static variable_list forward(AutogradContext* ctx, at::TensorList inputs, const ReplaySpec& spec,
                               const std::vector<ReplayOutput>& outputs) {
    variable_list saved;
    for (size_t i = 0; spec.uses_values && i < inputs.size(); ++i) {
      if (const Payload* payload = payload_of(inputs[i])) {
        const Codes& codes = *payload->codes;
        saved.insert(saved.end(), {codes.codes, codes.scale, codes.zero_point});
      } else {
        saved.insert(saved.end(), {inputs[i], at::Tensor(), at::Tensor()});
      }
    }
    ctx->save_for_backward(saved);
    ctx->saved_data["spec"] = Held<ReplaySpec>::hold(spec);
    ctx->set_materialize_grads(true);
    variable_list results;
    for (const ReplayOutput& output : outputs) {
      results.push_back(output.payload != nullptr
                            ? make_like(output.payload, output.nominal, inputs[0].device())
                            : output.real);
    }
    return results;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    require_first_order();
    const auto& spec = Held<ReplaySpec>::get(ctx->saved_data["spec"]);
    variable_list proxies, results;
    {
      at::AutoGradMode enable(true);
      proxies = stand_ins(spec, ctx->get_saved_variables());
      results = spec.op(proxies);
    }
    auto out = torch::autograd::grad(results, proxies, grads, /*retain_graph=*/std::nullopt,
                                     /*create_graph=*/false, /*allow_unused=*/true);
    out.resize(out.size() + 2);
    return out;
  }
};

}  // namespace

std::vector<at::Tensor> replay(const Replay& replay, const std::vector<ReplayOutput>& outputs) {
  ReplaySpec spec{replay.op, replay.uses_values, {}, {}};
  for (const auto& input : replay.inputs) {
    spec.sizes.push_back(input.sizes().vec());
    spec.is_codes.push_back(payload_of(input) != nullptr);
  }
  return ReplayNode::apply(at::TensorList(replay.inputs), spec, outputs);
}

}  // namespace qat::insert
