#include "ops/check_quantize.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "numerics/format.h"
#include "numerics/histogram.h"

namespace qat::ops {
namespace {

// True where elements of these sizes fill a stretch of memory, each its own place.
bool is_dense(c10::SymIntArrayRef sizes, c10::SymIntArrayRef stride) {
  if (sizes.size() != stride.size()) return false;
  std::vector<size_t> axes;  // the innermost one first
  for (size_t axis = 0; axis < sizes.size(); ++axis) {
    if (sizes[axis] == 0) return true;
    if (sizes[axis] != 1) axes.push_back(axis);
  }
  std::sort(axes.begin(), axes.end(), [&](size_t a, size_t b) { return stride[a] < stride[b]; });
  c10::SymInt step = 1;
  for (const size_t axis : axes) {
    if (stride[axis] != step) return false;
    step *= sizes[axis];
  }
  return true;
}

}  // namespace

void check_bits(const char* op, int64_t bits) {
  TORCH_CHECK_VALUE(bits >= numerics::kMinBits && bits <= numerics::kMaxBits, op,
                    ": bits: expected an integer from 2 to 8, got ", bits, ".");
}

void check_straight_through(const at::Tensor& grad, const at::Tensor& mask,
                            c10::SymIntArrayRef stride) {
  constexpr const char* kOp = "straight_through";
  check_floating(kOp, "grad", grad);
  check_dtype(kOp, "mask", mask, at::kByte);
  check_device(kOp, "mask", mask, grad);
  check_sizes(kOp, "mask", mask, {mask_bytes(grad.sym_numel())});
  TORCH_CHECK_VALUE(is_dense(grad.sym_sizes(), stride), kOp,
                    ": stride: expected strides without gaps for the shape ", grad.sym_sizes(),
                    ", got ", stride, ".");
}

void check_fake_quantize_learned(const char* op, const LearnedArguments& a) {
  check_floating(op, "x", a.x);
  TORCH_CHECK_VALUE(a.axis >= -1, op,
                    ": axis: expected -1 (one scale) or an axis from the front, got ", a.axis, ".");
  const c10::SymInt channels = a.axis == -1 ? 1 : a.x.sym_size(check_axis(op, a.x, a.axis));
  check_per_channel(op, "scale", a.scale, a.x, channels, true);
  check_per_channel(op, "zero_point", a.zero_point, a.x, a.scale.sym_numel(), false);
  check_code_range(op, a.quant_min, a.quant_max);
  TORCH_CHECK_VALUE(std::isfinite(a.grad_scale), op, ": grad_scale: expected a finite number, got ",
                    a.grad_scale, ".");
}

void check_fake_quantize_learned_backward(const at::Tensor& grad, const LearnedArguments& a) {
  constexpr const char* kOp = "fake_quantize_learned_backward";
  check_fake_quantize_learned(kOp, a);
  check_floating(kOp, "grad", grad);
  check_device(kOp, "grad", grad, a.x);
  check_same_sizes(kOp, "grad", grad, a.x);
}

void check_choose_qparams(const at::Tensor& min, const at::Tensor& max, int64_t bits,
                          bool is_signed, bool narrow) {
  constexpr const char* kOp = "choose_qparams";
  check_bits(kOp, bits);
  TORCH_CHECK_VALUE(is_signed || !narrow, kOp,
                    ": narrow: expected false for unsigned codes, got true.");
  check_dtype(kOp, "min", min, at::kFloat);
  check_dtype(kOp, "max", max, at::kFloat);
  check_device(kOp, "max", max, min);
  check_same_sizes(kOp, "max", max, min);
}

WeightOrder::WeightOrder(const at::Tensor& weight, int64_t axis)
    : channels_last(axis != 1 && weight.dim() == 4 && !weight.is_contiguous() &&
                    weight.is_contiguous(at::MemoryFormat::ChannelsLast)) {}

at::Tensor WeightOrder::apply(const at::Tensor& weight) const {
  return channels_last ? weight.permute({0, 2, 3, 1}) : weight;
}

at::Tensor WeightOrder::restore(const at::Tensor& codes) const {
  return channels_last ? codes.permute({0, 3, 1, 2}) : codes;
}

c10::SymInt check_quantize_weight(const at::Tensor& weight, const WeightOptions& options,
                                  const char* op) {
  const int64_t axis = options.axis, groups = options.groups;
  check_bits(op, options.bits);
  check_floating(op, "weight", weight);
  if (axis == -1) return 1;
  TORCH_CHECK_VALUE(axis == 0 || axis == 1, op,
                    ": axis: expected -1 (one scale), 0, or 1 (transposed convolution), got ", axis,
                    ".");
  check_axis(op, weight, axis);
  TORCH_CHECK_VALUE(groups >= 1 && weight.sym_size(0) % groups == 0, op,
                    ": groups: expected a divisor of the first axis (", weight.sym_size(0),
                    "), got ", groups, ".");
  return axis == 0 ? weight.sym_size(0) : weight.sym_size(1) * groups;
}

std::vector<WeightOptions> check_quantize_weights(at::TensorList weights, at::IntArrayRef axis,
                                                  at::IntArrayRef groups, at::IntArrayRef bits,
                                                  const c10::List<bool>& narrow,
                                                  const c10::List<bool>& power_of_two) {
  const auto check_length = [&](const char* name, size_t length) {
    TORCH_CHECK_VALUE(length == weights.size(), "quantize_weights: ", name,
                      ": expected one entry per weight (", weights.size(), "), got ", length, ".");
  };
  check_length("axis", axis.size());
  check_length("groups", groups.size());
  check_length("bits", bits.size());
  check_length("narrow", narrow.size());
  check_length("power_of_two", power_of_two.size());
  std::vector<WeightOptions> options;
  for (size_t i = 0; i < weights.size(); ++i) {
    options.push_back({axis[i], groups[i], bits[i], narrow.get(i), power_of_two.get(i)});
    const std::string op = "quantize_weights: weights[" + std::to_string(i) + "]";
    check_quantize_weight(weights[i], options.back(), op.c_str());
    check_device(op.c_str(), "weight", weights[i], weights[0]);
  }
  return options;
}

void check_observe_minmax(const at::Tensor& x, const at::Tensor& min, const at::Tensor& max,
                          const at::Tensor& count, int64_t axis, double momentum) {
  constexpr const char* kOp = "observe_minmax_";
  check_floating(kOp, "x", x);
  const c10::SymInt channels = axis == -1 ? c10::SymInt(1) : x.sym_size(check_axis(kOp, x, axis));
  check_per_channel(kOp, "min", min, x, channels, false);
  check_per_channel(kOp, "max", max, x, channels, false);
  check_dtype(kOp, "count", count, at::kLong);
  check_device(kOp, "count", count, x);
  TORCH_CHECK_VALUE(count.sym_numel() == 1, kOp, ": count: expected 1 element, got ",
                    count.sym_numel(), ".");
  TORCH_CHECK_VALUE(momentum > 0 && momentum <= 1, kOp,
                    ": momentum: expected a number in (0, 1], got ", momentum, ".");
}

void check_observe_histogram(const at::Tensor& x, const HistogramState& state) {
  constexpr const char* kOp = "observe_histogram_";
  check_floating(kOp, "x", x);
  const auto check = [&](const char* argument, const at::Tensor& tensor, at::ScalarType type,
                         int64_t elements) {
    check_dtype(kOp, argument, tensor, type);
    check_device(kOp, argument, tensor, x);
    const c10::SymInt size = elements;
    check_sizes(kOp, argument, tensor, c10::SymIntArrayRef(&size, 1));
  };
  check("counts", state.counts, at::kLong, numerics::kHistogramBins);
  check("exponent", state.exponent, at::kLong, 1);
  check("extremes", state.extremes, at::kFloat, 2);
  check("tally", state.tally, at::kLong, 2);
}

void check_lookup(const at::Tensor& codes, const at::Tensor& table, int64_t quant_min) {
  constexpr const char* kOp = "lookup";
  check_codes(kOp, "codes", codes);
  check_device(kOp, "table", table, codes);
  const auto type = table.scalar_type();
  TORCH_CHECK_VALUE(type == at::kFloat || type == at::kByte || type == at::kChar, kOp,
                    ": table: expected float32, uint8 or int8, got ", type, ".");
  const auto entries = table.sym_numel();
  bool power = false;
  for (int bits = numerics::kMinBits; bits <= numerics::kMaxBits; ++bits) {
    power = power || entries == (1 << bits);
  }
  TORCH_CHECK_VALUE(table.dim() == 1 && power, kOp,
                    ": table: expected one axis of 2^bits entries, bits from 2 to 8, got ",
                    table.sym_sizes(), ".");
  const int64_t lowest = codes.scalar_type() == at::kByte ? 0 : -128;
  TORCH_CHECK_VALUE(quant_min >= lowest && quant_min <= 0, kOp,
                    ": quant_min: expected the smallest code of a ", codes.scalar_type(),
                    " format, got ", quant_min, ".");
}

at::Tensor empty_mask(const at::Tensor& x) {
  return at::empty_symint({mask_bytes(x.sym_numel())}, x.options().dtype(at::kByte));
}

}  // namespace qat::ops
