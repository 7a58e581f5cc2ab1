#include <ATen/ops/empty.h>
#include <torch/library.h>

#include "ops/check_quantize.h"

namespace qat::ops {
namespace {

std::tuple<at::Tensor, at::Tensor> choose_qparams(const at::Tensor& min, const at::Tensor& max,
                                                  int64_t bits, bool is_signed, bool narrow,
                                                  bool /*symmetric*/, bool /*power_of_two*/) {
  check_choose_qparams(min, max, bits, is_signed, narrow);
  return {at::empty_symint(min.sym_sizes(), min.options()),
          at::empty_symint(min.sym_sizes(), min.options().dtype(at::kInt))};
}

}  // namespace

TORCH_LIBRARY_IMPL(qat_ext, Meta, m) { m.impl("choose_qparams", &choose_qparams); }

}  // namespace qat::ops
