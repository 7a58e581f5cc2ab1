#include <torch/library.h>

#include "ops/check_quantize.h"

namespace qat::ops {
namespace {

void observe_minmax(const at::Tensor& x, at::Tensor min, at::Tensor max, at::Tensor count,
                    int64_t axis, double momentum) {
  check_observe_minmax(x, min, max, count, axis, momentum);
}

}  // namespace

TORCH_LIBRARY_IMPL(qat_ext, Meta, m) { m.impl("observe_minmax_", &observe_minmax); }

}  // namespace qat::ops
