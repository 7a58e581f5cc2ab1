#pragma once
// The autograd nodes of a planned forward: each makes a quantized tensor or takes one apart, and
// differentiates straight through the rounding.

#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/stack.h>

#include <functional>
#include <memory>
#include <vector>

#include "insert/quantized_tensor.h"
#include "quantizers/learned_range.h"
#include "quantizers/recipe.h"
#include "quantizers/weight_quantizer.h"

namespace qat::insert {

// Sizes and strides that the model sees.
struct Nominal {
  std::vector<int64_t> sizes, strides;
  static Nominal like(const at::Tensor& tensor);
  // Dense strides, channels-last where asked for and possible.
  static Nominal dense(at::IntArrayRef sizes, bool channels_last);
};

// Where the codes of a result go, and whether its range is to be observed.
struct QuantizeTo {
  Codes target;  // codes undefined
  bool observe = false;
  bool fused = true;                                    // NumericsRecipe::fused
  std::function<void(const at::Tensor& range)> report;  // float32[2]
  RangeEdges learned;
};

// ---- making quantized tensors
at::Tensor quantize_real(const at::Tensor& real, const QuantizeTo& to);
// The result of a chain: left pending, evaluated to codes, or evaluated to a real tensor.
at::Tensor make_pending(Chain chain, const Nominal& nominal);
at::Tensor make_codes(Chain chain, const Nominal& nominal, const QuantizeTo& to);
at::Tensor make_real(Chain chain, const Nominal& nominal);
at::Tensor wrap_real(const at::Tensor& real);
// A real float32 tensor from either kind of payload.
at::Tensor evaluate(const at::Tensor& quantized);

// ---- integer layers. `weight` gets the gradient (Note [Gradient of a quantized weight]).
// The result is a pending chain over the accumulators. input: a quantized tensor of codes.
at::Tensor conv_int(const at::Tensor& input, const at::Tensor& weight, const QuantizedWeight& codes,
                    const at::Tensor& bias, const SharedGeometry& geometry,
                    const NumericsRecipe& numerics);
at::Tensor linear_int(const at::Tensor& input, const at::Tensor& weight,
                      const QuantizedWeight& codes, const at::Tensor& bias,
                      const NumericsRecipe& numerics);

// ---- operators on codes
// One entry per code.
struct LookupTable {
  at::Tensor entries;                        // codes or float32
  at::Tensor slopes;                         // float32, d output / d x
  at::Tensor scale_terms, zero_point_terms;  // float32, of a learned quantizer; or undefined
  RangeEdges learned;
};
// `to` describes the output codes (its codes undefined); nullptr: the table holds reals.
at::Tensor lookup(const at::Tensor& input, const LookupTable& table, const Codes* to);
at::Tensor dropout(const at::Tensor& input, double probability);

using ReplayedOp = std::function<std::vector<at::Tensor>(const std::vector<at::Tensor>& reals)>;
// Runs `op` on inputs with the given values and differentiates by running it again on float
// tensors. uses_values: the derivative depends on the inputs' values.
struct Replay {
  std::vector<at::Tensor> inputs;  // quantized or real
  ReplayedOp op;
  bool uses_values = false;
};
// `outputs` are payloads (or reals) that hold the forward results already.
struct ReplayOutput {
  std::shared_ptr<Payload> payload;  // nullptr: real
  at::Tensor real;
  Nominal nominal;
};
std::vector<at::Tensor> replay(const Replay& replay, const std::vector<ReplayOutput>& outputs);

}  // namespace qat::insert
