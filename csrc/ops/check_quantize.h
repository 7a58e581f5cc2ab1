#pragma once
// Rules of the operators between real values and codes.

#include <ATen/core/List.h>

#include <string>
#include <vector>

#include "ops/check.h"

namespace qat::ops {

inline void check_fake_quantize(const char* op, const at::Tensor& x, const at::Tensor& scale,
                                const at::Tensor& zero_point, int64_t axis, int64_t quant_min,
                                int64_t quant_max) {
  check_floating(op, "x", x);
  check_qparams(op, x, scale, zero_point, axis);
  check_code_range(op, quant_min, quant_max);
}

inline void check_fake_quantize_backward(const at::Tensor& grad, const at::Tensor& x,
                                         const at::Tensor& scale, const at::Tensor& zero_point,
                                         int64_t axis, int64_t quant_min, int64_t quant_max) {
  constexpr const char* kOp = "fake_quantize_backward";
  check_fake_quantize(kOp, x, scale, zero_point, axis, quant_min, quant_max);
  check_floating(kOp, "grad", grad);
  check_device(kOp, "grad", grad, x);
  check_same_sizes(kOp, "grad", grad, x);
}

// Bytes of a mask of `elements` bits.
inline c10::SymInt mask_bytes(const c10::SymInt& elements) { return (elements + 7) / 8; }
at::Tensor empty_mask(const at::Tensor& x);
// stride: of the tensor whose bits the mask holds in memory order.
void check_straight_through(const at::Tensor& grad, const at::Tensor& mask,
                            c10::SymIntArrayRef stride);

// The arguments of both operators but the gradient.
struct LearnedArguments {
  const at::Tensor &x, &scale, &zero_point;
  int64_t axis, quant_min, quant_max;
  double grad_scale;
  bool clipped_only;
};
void check_fake_quantize_learned(const char* op, const LearnedArguments& arguments);
void check_fake_quantize_learned_backward(const at::Tensor& grad,
                                          const LearnedArguments& arguments);

inline void check_dequantize(const at::Tensor& codes, const at::Tensor& scale,
                             const at::Tensor& zero_point, int64_t axis) {
  check_codes("dequantize", "codes", codes);
  check_qparams("dequantize", codes, scale, zero_point, axis);
}

void check_bits(const char* op, int64_t bits);
void check_choose_qparams(const at::Tensor& min, const at::Tensor& max, int64_t bits,
                          bool is_signed, bool narrow);
// The weight in an order in which its output channels are contiguous: codes keep the memory order
// of a channels-last weight, so that its gradient gets that order too. restore() undoes it.
struct WeightOrder {
  bool channels_last;
  WeightOrder(const at::Tensor& weight, int64_t axis);
  at::Tensor apply(const at::Tensor& weight) const;
  at::Tensor restore(const at::Tensor& codes) const;
};

struct WeightOptions {
  int64_t axis, groups, bits;
  bool narrow, power_of_two;
};
// Returns the number of scales.
c10::SymInt check_quantize_weight(const at::Tensor& weight, const WeightOptions& options,
                                  const char* op = "quantize_weight");
// The same for the weights of a list: their options.
std::vector<WeightOptions> check_quantize_weights(at::TensorList weights, at::IntArrayRef axis,
                                                  at::IntArrayRef groups, at::IntArrayRef bits,
                                                  const c10::List<bool>& narrow,
                                                  const c10::List<bool>& power_of_two);
void check_observe_minmax(const at::Tensor& x, const at::Tensor& min, const at::Tensor& max,
                          const at::Tensor& count, int64_t axis, double momentum);
struct HistogramState {
  const at::Tensor &counts, &exponent, &extremes, &tally;
};
void check_observe_histogram(const at::Tensor& x, const HistogramState& state);
void check_lookup(const at::Tensor& codes, const at::Tensor& table, int64_t quant_min);

}  // namespace qat::ops
