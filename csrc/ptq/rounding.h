#pragma once
// AdaRound's problem for one layer: which weights to round up.

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <optional>

#include "insert/quantized_tensor.h"
#include "ptq/options.h"

namespace qat::ptq {

// A layer computes act((inputs * weight) * gain[c] + shift[c]).
struct RoundingProblem {
  at::Tensor inputs;   // float32[N, ...], as the quantized model gives them
  at::Tensor targets;  // float32[N, ...], what the float model has behind the activation
  std::optional<insert::ConvGeometry> geometry;  // absent: linear
  at::Tensor gain, shift;                        // float32[C], or undefined
  std::optional<numerics::Activation> activation;
  int64_t weight_axis = 0;  // of the output channels
  int64_t weight_groups = 1;
  // All shaped like the weight, float32.
  at::Tensor weight, scale;  // scale: a view that repeats each channel's
  at::Tensor nearest;        // codes
  at::Tensor low, high;      // codes that may be chosen
  at::Tensor fixed;          // bool: keeps the nearest code
};

struct RoundingSolution {
  at::Tensor codes;  // float32, shaped like the weight
  double nearest_error = 0, error = 0;
};

// Per output channel no worse on `inputs` than rounding to nearest.
RoundingSolution solve(const RoundingProblem& problem, const AdaroundOptions& options,
                       at::Generator generator);

}  // namespace qat::ptq
