// Between reals and codes: quantize, dequantize, table lookup, dropout on codes.

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/bernoulli.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/scalar_tensor.h>
#include <ATen/ops/where.h>
#include <torch/csrc/autograd/custom_function.h>

#include "error.h"
#include "insert/chain_codes.h"
#include "insert/node_ranges.h"
#include "insert/nodes_common.h"
#include "insert/ops_calls.h"

namespace qat::insert {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

// What the backward of a quantized real needs beside its saved tensors.
struct QuantizeBackward {
  QuantizerBackward quantizer;
  bool masked = false;  // Note [One bit per element]
  std::vector<int64_t> mask_stride;
};

struct QuantizeNode : Function<QuantizeNode> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& real,
                            const OptionalTensor& scale, const OptionalTensor& zero_point,
                            const QuantizeTo& to) {
    (void)scale, (void)zero_point;  // for their gradients
    Chain chain;                    // a chain of nothing: quantizes and observes in one pass
    chain.acc = real;
    QuantizeBackward kept{quantizer_backward_of(to), false, {}};
    at::Tensor codes;
    if (real.requires_grad() && bent_by_quantizer_alone(chain, to)) {
      MaskedCodes masked = masked_codes(chain, to);
      ctx->save_for_backward({masked.mask});
      kept.masked = true;
      kept.mask_stride = masked.codes.strides().vec();
      codes = std::move(masked.codes);
    } else {
      codes = chain_codes(chain, to);
      ctx->save_for_backward({real, to.target.scale, to.target.zero_point});
    }
    ctx->saved_data["quantize"] = Held<QuantizeBackward>::hold(std::move(kept));
    return make_like(codes_payload(with_codes(to.target, codes)), Nominal::like(real),
                     real.device());
  }
  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    require_first_order();
    const auto saved = ctx->get_saved_variables();
    const auto& kept = Held<QuantizeBackward>::get(ctx->saved_data["quantize"]);
    if (kept.masked) {
      return {call::straight_through(grads[0], saved[0], kept.mask_stride), {}, {}, {}};
    }
    const auto gradients = backpropagate(kept.quantizer, grads[0], saved[0], saved[1], saved[2]);
    return {gradients.x, gradients.scale, gradients.zero_point, at::Tensor()};
  }
};

struct DequantizeNode : Function<DequantizeNode> {
  static at::Tensor forward(AutogradContext*, const at::Tensor& quantized) {
    return to_nominal(call::dequantize(*payload_of(quantized)->codes), Nominal::like(quantized));
  }
  static variable_list backward(AutogradContext*, variable_list grads) {
    require_first_order();
    return {grads[0]};
  }
};

// The gradient of a parameter that every element of `codes` contributes a term to.
at::Tensor sum_terms(const at::Tensor& grad, const at::Tensor& codes, const at::Tensor& terms,
                     int64_t quant_min) {
  if (!terms.defined()) return {};
  return (grad * call::lookup(codes, terms, quant_min)).sum().reshape({1});
}

struct LookupNode : Function<LookupNode> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& input,
                            const OptionalTensor& scale, const OptionalTensor& zero_point,
                            const LookupTable& table, const Codes* to) {
    (void)scale, (void)zero_point;
    const Codes& codes = *payload_of(input)->codes;
    const int64_t quant_min = codes.format.quant_min();
    ctx->save_for_backward({codes.codes, table.slopes, table.scale_terms, table.zero_point_terms});
    ctx->saved_data["quant_min"] = quant_min;
    at::Tensor out = call::lookup(codes.codes, table.entries, quant_min);
    const Nominal nominal = Nominal::like(input);
    if (to == nullptr) return to_nominal(out, nominal);
    return make_like(codes_payload(with_codes(*to, out)), nominal, input.device());
  }
  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    require_first_order();
    const auto saved = ctx->get_saved_variables();
    const int64_t quant_min = ctx->saved_data["quant_min"].toInt();
    return {call::lookup(saved[0], saved[1], quant_min).mul_(grads[0]),
            sum_terms(grads[0], saved[0], saved[2], quant_min),
            sum_terms(grads[0], saved[0], saved[3], quant_min),
            {},
            {}};
  }
};

// Dropping sets a code to the zero point; scaling by 1/(1-p) scales the step, so codes stay exact.
struct DropoutNode : Function<DropoutNode> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& input, double probability) {
    const Codes& codes = *payload_of(input)->codes;
    const double keep = 1.0 - probability;
    const at::Tensor kept =
        at::empty(codes.codes.sizes(), codes.codes.options().dtype(at::kBool)).bernoulli_(keep);
    Codes out = codes;
    const at::Tensor zero = at::scalar_tensor(codes.params.zero_point, codes.codes.options());
    out.codes = at::where(kept, codes.codes, zero);
    const float gain = keep > 0 ? static_cast<float>(1.0 / keep) : 1.0f;
    out.params.scale = numerics::mul(codes.params.scale, gain);
    out.scale = codes.scale * gain;
    ctx->save_for_backward({kept});
    ctx->saved_data["gain"] = static_cast<double>(gain);
    return make_like(codes_payload(std::move(out)), Nominal::like(input), input.device());
  }
  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    require_first_order();
    const at::Tensor kept = ctx->get_saved_variables()[0];
    return {grads[0] * kept * ctx->saved_data["gain"].toDouble(), at::Tensor()};
  }
};

}  // namespace

void require_first_order() {
  if (!at::GradMode::is_enabled()) return;
  throw Error(
      "backward: create_graph=True: gradients of gradients are not defined for quantized "
      "operators. Call backward without create_graph, or take the penalty on the float model.");
}

Nominal Nominal::like(const at::Tensor& tensor) {
  return {tensor.sizes().vec(), tensor.strides().vec()};
}

Nominal Nominal::dense(at::IntArrayRef sizes, bool channels_last) {
  Nominal nominal{sizes.vec(), std::vector<int64_t>(sizes.size())};
  const auto rank = static_cast<int64_t>(sizes.size());
  int64_t step = 1;
  const auto place = [&](int64_t axis) {
    nominal.strides[axis] = step;
    step *= std::max<int64_t>(sizes[axis], 1);
  };
  const bool channels_first_placed = channels_last && (rank == 4 || rank == 5);
  if (channels_first_placed) place(1);
  for (int64_t axis = rank - 1; axis >= 0; --axis) {
    if (!(channels_first_placed && axis == 1)) place(axis);
  }
  return nominal;
}

at::Tensor to_nominal(const at::Tensor& tensor, const Nominal& nominal) {
  if (tensor.strides() == at::IntArrayRef(nominal.strides)) return tensor;
  const auto wanted = Nominal::dense(nominal.sizes, true).strides == nominal.strides
                          ? tensor.suggest_memory_format()
                          : at::MemoryFormat::Contiguous;
  return tensor.contiguous(wanted);
}

at::Tensor quantize_real(const at::Tensor& real, const QuantizeTo& to) {
  return QuantizeNode::apply(real, optional(to.learned.scale), optional(to.learned.zero_point), to);
}

at::Tensor evaluate(const at::Tensor& quantized) {
  const Payload& payload = *payload_of(quantized);
  if (payload.codes) return DequantizeNode::apply(quantized);
  Chain chain = *payload.chain;
  if (!chain.source.defined()) chain.source = quantized;
  return make_real(std::move(chain), Nominal::like(quantized));
}

at::Tensor lookup(const at::Tensor& input, const LookupTable& table, const Codes* to) {
  return LookupNode::apply(input, optional(table.learned.scale), optional(table.learned.zero_point),
                           table, to);
}

at::Tensor dropout(const at::Tensor& input, double probability) {
  return DropoutNode::apply(input, probability);
}

}  // namespace qat::insert
