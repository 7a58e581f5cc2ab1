#include <torch/library.h>

#include "ops/check_quantize.h"

namespace qat::ops {
namespace {

void observe_histogram(const at::Tensor& x, at::Tensor counts, at::Tensor exponent,
                       at::Tensor extremes, at::Tensor tally) {
  check_observe_histogram(x, {counts, exponent, extremes, tally});
}

}  // namespace

TORCH_LIBRARY_IMPL(qat_ext, Meta, m) { m.impl("observe_histogram_", &observe_histogram); }

}  // namespace qat::ops
