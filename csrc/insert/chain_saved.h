#pragma once
// What the node of a chain's end keeps from forward to backward: Note [Two nodes per layer].

#include <torch/csrc/autograd/variable.h>

#include "insert/node_ranges.h"
#include "insert/nodes.h"

namespace qat::insert {

// Everything of a chain but its tensors.
struct ChainScalars {
  bool linear;  // its gradient is that of the result, and nothing else is kept
  bool masked;  // Note [One bit per element]: the mask is all that is kept
  std::vector<int64_t> mask_stride;
  int64_t axis;
  numerics::Activation activation;
  bool has_batch_norm, through_statistics, residual_is_codes, quantized;
  numerics::QuantParams residual_params;
  numerics::IntFormat residual_format, format;
  // Which gradients are wanted. AutogradContext::needs_input_grad counts edges, and absent operands
  // have none.
  bool gamma_grad, beta_grad, residual_grad, slope_grad;
  // Where the accumulator is made again.
  bool recomputed;
  int64_t zero_point;
  std::optional<ConvGeometry> geometry;
  // Where the residual is.
  bool residual_rebuilt;
  int64_t residual_axis, residual_zero_point;
  std::optional<ConvGeometry> residual_geometry;
  QuantizerBackward quantizer;  // where its scale or zero point is learned
  uint32_t kept;                // which of the tensors were saved, one bit for each
};

// The tensors, by their places among the saved ones; those that a chain lacks are undefined.
enum ChainTensor : size_t {
  kAcc,
  kMultiplier,
  kBias,
  kSlope,
  kXhatMultiplier,
  kXhatBias,
  kGain,
  kResidual,  // real, or its codes with the next two
  kResidualScale,
  kResidualZeroPoint,
  kScale,  // of the quantizer
  kZeroPoint,
  kLayerCodes,  // where the accumulator is made again
  kLayerWeight,
  kResidualAcc,  // where a real residual is made again
  kResidualMultiplier,
  kResidualBias,
  kResidualLayerCodes,
  kResidualLayerWeight,
  kChainTensors
};

ChainScalars scalars_of(const Chain& chain, const Codes* to);
torch::autograd::variable_list tensors_of(const Chain& chain, const Codes* to);
// A chain has seven of them or so, and an undefined one takes as long to save as another: they are
// left out, and put back in their places. Returns the bits of those that are defined.
uint32_t drop_undefined(torch::autograd::variable_list& tensors);
torch::autograd::variable_list restore_undefined(uint32_t kept,
                                                 torch::autograd::variable_list saved);
// The chain again, but for what only its forward needed.
Chain rebuild_chain(const ChainScalars& scalars, const torch::autograd::variable_list& saved);

}  // namespace qat::insert
