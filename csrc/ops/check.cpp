#include "ops/check.h"

namespace qat::ops {

void check_floating(const char* op, const char* argument, const at::Tensor& tensor) {
  const auto type = tensor.scalar_type();
  TORCH_CHECK_VALUE(type == at::kFloat || type == at::kBFloat16 || type == at::kHalf, op, ": ",
                    argument, ": expected float32, bfloat16 or float16, got ", type, ".");
}

void check_dtype(const char* op, const char* argument, const at::Tensor& tensor,
                 at::ScalarType expected) {
  TORCH_CHECK_VALUE(tensor.scalar_type() == expected, op, ": ", argument, ": expected ", expected,
                    ", got ", tensor.scalar_type(), ".");
}

void check_codes(const char* op, const char* argument, const at::Tensor& tensor) {
  const auto type = tensor.scalar_type();
  TORCH_CHECK_VALUE(type == at::kByte || type == at::kChar, op, ": ", argument,
                    ": expected codes in uint8 or int8, got ", type, ".");
}

void check_device(const char* op, const char* argument, const at::Tensor& tensor,
                  const at::Tensor& reference) {
  TORCH_CHECK_VALUE(tensor.device() == reference.device(), op, ": ", argument,
                    ": expected a tensor on ", reference.device(), ", got one on ", tensor.device(),
                    ".");
}

void check_sizes(const char* op, const char* argument, const at::Tensor& tensor,
                 c10::SymIntArrayRef expected) {
  TORCH_CHECK_VALUE(tensor.sym_sizes() == expected, op, ": ", argument, ": expected the shape ",
                    expected, ", got ", tensor.sym_sizes(), ".");
}

void check_same_sizes(const char* op, const char* argument, const at::Tensor& tensor,
                      const at::Tensor& reference) {
  check_sizes(op, argument, tensor, reference.sym_sizes());
}

int64_t check_axis(const char* op, const at::Tensor& x, int64_t axis) {
  const int64_t rank = x.dim();
  TORCH_CHECK_VALUE(axis >= -rank && axis < rank, op,
                    ": axis: expected an axis of a tensor of rank ", rank, ", got ", axis, ".");
  return axis < 0 ? axis + rank : axis;
}

void check_per_channel(const char* op, const char* argument, const at::Tensor& tensor,
                       const at::Tensor& reference, const c10::SymInt& channels,
                       bool one_is_enough) {
  check_dtype(op, argument, tensor, at::kFloat);
  check_device(op, argument, tensor, reference);
  const auto count = tensor.sym_numel();
  const bool fits = (one_is_enough && count == 1) || count == channels;
  TORCH_CHECK_VALUE(fits, op, ": ", argument, ": expected ", one_is_enough ? "1 or " : "", channels,
                    " elements (one per channel), got ", count, ".");
}

void check_per_channel(const char* op, const char* argument, const OptionalTensor& tensor,
                       const at::Tensor& reference, const c10::SymInt& channels) {
  if (tensor) check_per_channel(op, argument, *tensor, reference, channels, false);
}

void check_code_range(const char* op, int64_t quant_min, int64_t quant_max) {
  const bool unsigned_range = quant_min >= 0 && quant_max <= 255;
  const bool signed_range = quant_min >= -128 && quant_min < 0 && quant_max <= 127;
  TORCH_CHECK_VALUE(quant_min < quant_max && (unsigned_range || signed_range), op,
                    ": quant_min, quant_max: expected an interval inside 0..255 or -128..127, got ",
                    quant_min, "..", quant_max, ".");
}

void check_qparams(const char* op, const at::Tensor& x, const at::Tensor& scale,
                   const at::Tensor& zero_point, int64_t axis) {
  const c10::SymInt channels = axis < 0 ? c10::SymInt(1) : x.sym_size(check_axis(op, x, axis));
  TORCH_CHECK_VALUE(axis >= -1, op,
                    ": axis: expected -1 (one scale) or an axis from the front, got ", axis, ".");
  check_per_channel(op, "scale", scale, x, channels, true);
  check_dtype(op, "zero_point", zero_point, at::kInt);
  check_device(op, "zero_point", zero_point, x);
  TORCH_CHECK_VALUE(zero_point.sym_numel() == scale.sym_numel(), op,
                    ": zero_point: expected as many elements as scale has (", scale.sym_numel(),
                    "), got ", zero_point.sym_numel(), ".");
}

}  // namespace qat::ops
