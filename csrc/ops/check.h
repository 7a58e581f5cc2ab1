#pragma once
// Argument rules shared by operators. Every message reads "operator: argument: rule, got value".
// The checks look at shapes and dtypes only, so they hold for Meta tensors as well.

#include <ATen/core/Tensor.h>

#include <optional>

namespace qat::ops {

using OptionalTensor = std::optional<at::Tensor>;

// float32, bfloat16 or float16.
void check_floating(const char* op, const char* argument, const at::Tensor& tensor);
void check_dtype(const char* op, const char* argument, const at::Tensor& tensor,
                 at::ScalarType expected);
// uint8 or int8.
void check_codes(const char* op, const char* argument, const at::Tensor& tensor);
void check_device(const char* op, const char* argument, const at::Tensor& tensor,
                  const at::Tensor& reference);
void check_sizes(const char* op, const char* argument, const at::Tensor& tensor,
                 c10::SymIntArrayRef expected);
void check_same_sizes(const char* op, const char* argument, const at::Tensor& tensor,
                      const at::Tensor& reference);

// The axis counted from the front.
int64_t check_axis(const char* op, const at::Tensor& x, int64_t axis);

// float32 with one element or with one per channel, on the device of `reference`.
void check_per_channel(const char* op, const char* argument, const at::Tensor& tensor,
                       const at::Tensor& reference, const c10::SymInt& channels,
                       bool one_is_enough);
void check_per_channel(const char* op, const char* argument, const OptionalTensor& tensor,
                       const at::Tensor& reference, const c10::SymInt& channels);

// A legal interval of codes of at most 8 bits.
void check_code_range(const char* op, int64_t quant_min, int64_t quant_max);
inline at::ScalarType code_type(int64_t quant_min) { return quant_min < 0 ? at::kChar : at::kByte; }

// scale float32 and zero_point int32, one element each or, where axis >= 0, one per channel of x.
void check_qparams(const char* op, const at::Tensor& x, const at::Tensor& scale,
                   const at::Tensor& zero_point, int64_t axis);

}  // namespace qat::ops
