// Between reals and codes: quantize, dequantize, table lookup, dropout on codes.

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/bernoulli.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/scalar_tensor.h>
#include <ATen/ops/where.h>

#include <array>

#include "insert/chain_codes.h"
#include "insert/gradient_node.h"
#include "insert/node_ranges.h"
#include "insert/nodes_common.h"
#include "insert/ops_calls.h"

namespace qat::insert {
namespace {

// The mask is all that is kept: Note [One bit per element].
struct MaskedRealDerivative : KeptMask {
  static constexpr const char* kName = "qat_ext::MaskedQuantizeBackward";
  variable_list operator()(const variable_list& grads, const Wanted&) const {
    return {through(grads[0]), {}, {}};
  }
};

struct QuantizeDerivative {
  static constexpr const char* kName = "qat_ext::QuantizeBackward";
  at::Tensor real, scale, zero_point;
  QuantizerBackward quantizer;
  template <typename F>
  void tensors(F&& f) {
    f(real), f(scale), f(zero_point);
  }
  variable_list operator()(const variable_list& grads, const Wanted&) const {
    const auto of = backpropagate(quantizer, grads[0], real, scale, zero_point);
    return {of.x, of.scale, of.zero_point};
  }
};

struct DequantizeDerivative {
  static constexpr const char* kName = "qat_ext::DequantizeBackward";
  template <typename F>
  void tensors(F&&) {}
  variable_list operator()(const variable_list& grads, const Wanted&) const { return {grads[0]}; }
};

at::Tensor dequantized(const at::Tensor& quantized) {
  const bool recorded = wants_gradient({&quantized});
  const at::NoGradGuard no_grad;
  const at::Tensor real =
      to_nominal(call::dequantize(*payload_of(quantized)->codes), Nominal::like(quantized));
  return recorded ? attached(real, DequantizeDerivative{}, {&quantized}) : real;
}

// The gradient of a parameter that every element of `codes` contributes a term to.
at::Tensor sum_terms(const at::Tensor& grad, const at::Tensor& codes, const at::Tensor& terms,
                     int64_t quant_min) {
  if (!terms.defined()) return {};
  return (grad * call::lookup(codes, terms, quant_min)).sum().reshape({1});
}

struct LookupDerivative {
  static constexpr const char* kName = "qat_ext::LookupBackward";
  at::Tensor codes, slopes, scale_terms, zero_point_terms;
  int64_t quant_min;
  template <typename F>
  void tensors(F&& f) {
    f(codes), f(slopes), f(scale_terms), f(zero_point_terms);
  }
  variable_list operator()(const variable_list& grads, const Wanted&) const {
    return {call::lookup(codes, slopes, quant_min).mul_(grads[0]),
            sum_terms(grads[0], codes, scale_terms, quant_min),
            sum_terms(grads[0], codes, zero_point_terms, quant_min)};
  }
};

struct DropoutDerivative {
  static constexpr const char* kName = "qat_ext::DropoutBackward";
  at::Tensor kept;
  double gain;
  template <typename F>
  void tensors(F&& f) {
    f(kept);
  }
  variable_list operator()(const variable_list& grads, const Wanted&) const {
    return {grads[0] * kept * gain};
  }
};

}  // namespace

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
  const std::array operands{&real, &to.learned.scale, &to.learned.zero_point};
  const bool recorded = wants_gradient(operands);
  const at::NoGradGuard no_grad;
  Chain chain;  // a chain of nothing: quantizes and observes in one pass
  chain.acc = real;
  const Nominal nominal = Nominal::like(real);
  if (!recorded) return codes_result(chain_codes(chain, to), to.target, nominal);
  if (bent_by_quantizer_alone(chain, to)) {
    const MaskedCodes masked = masked_codes(chain, to);
    MaskedRealDerivative derivative{KeptMask(masked)};
    return attached(codes_result(masked.codes, to.target, nominal), std::move(derivative),
                    operands);
  }
  QuantizeDerivative derivative{real, to.target.scale, to.target.zero_point,
                                quantizer_backward_of(to)};
  return attached(codes_result(chain_codes(chain, to), to.target, nominal), std::move(derivative),
                  operands);
}

at::Tensor evaluate(const at::Tensor& quantized) {
  const Payload& payload = *payload_of(quantized);
  if (payload.codes) return dequantized(quantized);
  Chain chain = *payload.chain;
  if (!chain.source.defined()) chain.source = quantized;
  return make_real(std::move(chain), Nominal::like(quantized));
}

at::Tensor lookup(const at::Tensor& input, const LookupTable& table, const Codes* to) {
  const std::array operands{&input, &table.learned.scale, &table.learned.zero_point};
  const bool recorded = wants_gradient(operands);
  const at::NoGradGuard no_grad;
  const Codes& codes = *payload_of(input)->codes;
  const int64_t quant_min = codes.format.quant_min();
  const at::Tensor entries = call::lookup(codes.codes, table.entries, quant_min);
  const Nominal nominal = Nominal::like(input);
  const at::Tensor result =
      to == nullptr ? to_nominal(entries, nominal) : codes_result(entries, *to, nominal);
  if (!recorded) return result;
  LookupDerivative derivative{codes.codes, table.slopes, table.scale_terms, table.zero_point_terms,
                              quant_min};
  return attached(result, std::move(derivative), operands);
}

// Dropping sets a code to the zero point; scaling by 1/(1-p) scales the step, so codes stay exact.
at::Tensor dropout(const at::Tensor& input, double probability) {
  const bool recorded = wants_gradient({&input});
  const at::NoGradGuard no_grad;
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
  const at::Tensor result =
      make_like(codes_payload(std::move(out)), Nominal::like(input), input.device());
  if (!recorded) return result;
  return attached(result, DropoutDerivative{kept, static_cast<double>(gain)}, {&input});
}

}  // namespace qat::insert
