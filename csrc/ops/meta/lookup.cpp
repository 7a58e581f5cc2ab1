#include <ATen/ops/empty_like.h>
#include <torch/library.h>

#include "ops/check_quantize.h"

namespace qat::ops {
namespace {

at::Tensor lookup(const at::Tensor& codes, const at::Tensor& table, int64_t quant_min) {
  check_lookup(codes, table, quant_min);
  return at::empty_like(codes, codes.options().dtype(table.scalar_type()));
}

}  // namespace

TORCH_LIBRARY_IMPL(qat_ext, Meta, m) { m.impl("lookup", &lookup); }

}  // namespace qat::ops
