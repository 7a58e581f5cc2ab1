#include <ATen/ops/empty.h>
#include <torch/library.h>

#include "numerics/qparams.h"
#include "ops/check_quantize.h"

namespace qat::ops {
namespace {

void check_not_negative(const float* lo, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    TORCH_CHECK_VALUE(!(lo[i] < 0.0f),
                      "choose_qparams: min: expected no negative value for unsigned symmetric "
                      "codes, which would clip it away, got ",
                      lo[i], ".");
  }
}

std::tuple<at::Tensor, at::Tensor> choose_qparams(const at::Tensor& min, const at::Tensor& max,
                                                  int64_t bits, bool is_signed, bool narrow,
                                                  bool symmetric, bool power_of_two) {
  check_choose_qparams(min, max, bits, is_signed, narrow);
  auto scale = at::empty(min.sizes(), min.options());
  auto zero_point = at::empty(min.sizes(), min.options().dtype(at::kInt));
  const auto low = min.contiguous(), high = max.contiguous();
  const float* lo = low.const_data_ptr<float>();
  const float* hi = high.const_data_ptr<float>();
  float* s = scale.mutable_data_ptr<float>();
  auto* z = zero_point.mutable_data_ptr<int32_t>();
  const numerics::IntFormat format{static_cast<int>(bits), is_signed, narrow};
  const auto symmetry = symmetric ? numerics::Symmetry::symmetric : numerics::Symmetry::affine;
  if (symmetric && !is_signed) check_not_negative(lo, low.numel());
  for (int64_t i = 0; i < low.numel(); ++i) {
    const auto q = numerics::choose_qparams(lo[i], hi[i], format, symmetry, power_of_two);
    s[i] = q.scale;
    z[i] = q.zero_point;
  }
  return {scale, zero_point};
}

}  // namespace

TORCH_LIBRARY_IMPL(qat_ext, CPU, m) { m.impl("choose_qparams", &choose_qparams); }

}  // namespace qat::ops
