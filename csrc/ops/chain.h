#pragma once
// The arguments of the operators on rows of channels, gathered; their rules; their layout.

#include <tuple>

#include "ops/check.h"

namespace qat::ops {

struct ChainArguments {
  const char* op;
  const at::Tensor& acc;
  const OptionalTensor& multiplier;
  const OptionalTensor& bias;
  const OptionalTensor& residual;
  const OptionalTensor& residual_scale;
  const OptionalTensor& residual_zero_point;
  const OptionalTensor& slope;
  int64_t axis;
  int64_t activation;
  double p0;
  double p1;
};

struct QuantizerArguments {
  const at::Tensor& scale;
  const at::Tensor& zero_point;
  int64_t quant_min;
  int64_t quant_max;
};

struct BackwardArguments {
  const at::Tensor& grad;
  const OptionalTensor& xhat_multiplier;
  const OptionalTensor& xhat_bias;
  const OptionalTensor& gain;
  bool through_statistics;
  bool residual_grad;
  bool learned, clipped_only;  // also the gradients of the quantizer's parameters (rule 13)
};

// The results of bn_act_quantize_backward, in the order of its schema.
using ChainGradients =
    std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor>;

void check_chain(const ChainArguments& chain);
void check_chain_quantizer(const ChainArguments& chain, const QuantizerArguments& quantizer);
// scale and zero_point None: the output was not quantized.
void check_chain_backward(const ChainArguments& chain, const BackwardArguments& backward,
                          const OptionalTensor& scale, const OptionalTensor& zero_point,
                          int64_t quant_min, int64_t quant_max);
void check_requantize(const at::Tensor& acc, const at::Tensor& multiplier,
                      const OptionalTensor& bias, const QuantizerArguments& quantizer,
                      int64_t axis);
void check_batch_statistics(const at::Tensor& acc, const OptionalTensor& multiplier,
                            const OptionalTensor& bias, int64_t axis);
void check_affine_half(const at::Tensor& acc, const OptionalTensor& multiplier,
                       const OptionalTensor& bias, int64_t axis);
void check_fold_batch_norm(const OptionalTensor& multiplier, const OptionalTensor& bias,
                           const OptionalTensor& gamma, const OptionalTensor& beta,
                           const at::Tensor& mean, const at::Tensor& variance, double eps);

// The same tensor in memory that is rows of channels: x itself where it lies so, else a copy.
at::Tensor in_rows(const at::Tensor& x, int64_t axis);
// Rows of channels: `axis` moved to the end, contiguous. Free for channels-last memory.
at::Tensor to_rows(const at::Tensor& x, int64_t axis);
// A tensor of these sizes, or of the shape of x, whose memory is rows of channels. axis: of the
// channels, from the front in the first.
at::Tensor empty_rows(c10::SymIntArrayRef sizes, int64_t axis, const at::TensorOptions& options);
at::Tensor empty_rows_like(const at::Tensor& x, int64_t axis, at::ScalarType type);

}  // namespace qat::ops
