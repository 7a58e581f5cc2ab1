#include <ATen/Parallel.h>
#include <ATen/ops/empty_like.h>
#include <torch/library.h>

#include "kernels/cpu/byte_table.h"
#include "ops/check_quantize.h"
#include "ops/cpu/elementwise.h"

namespace qat::ops {
namespace {

template <typename T>
void look_up(const at::Tensor& codes, const at::Tensor& table, int64_t quant_min, at::Tensor& out) {
  const auto by_byte =
      kernels::indexed_by_byte(static_cast<const T*>(table.const_data_ptr()), table.numel(),
                               codes.scalar_type() == at::kChar, quant_min);
  const auto* from = static_cast<const uint8_t*>(codes.const_data_ptr());
  T* to = static_cast<T*>(out.mutable_data_ptr());
  at::parallel_for(0, codes.numel(), kGrain, [&](int64_t begin, int64_t end) {
    if constexpr (sizeof(T) == 1) {
      kernels::map_bytes(from + begin, to + begin, end - begin, by_byte);
    } else {
      kernels::map_each(from + begin, to + begin, end - begin, by_byte);
    }
  });
}

at::Tensor lookup(const at::Tensor& codes, const at::Tensor& table, int64_t quant_min) {
  check_lookup(codes, table, quant_min);
  auto out = at::empty_like(codes, codes.options().dtype(table.scalar_type()));
  const auto dense =
      codes.strides() == out.strides() ? codes : at::empty_like(out, codes.options()).copy_(codes);
  const auto entries = table.contiguous();
  if (table.scalar_type() == at::kFloat) {
    look_up<float>(dense, entries, quant_min, out);
  } else {
    look_up<uint8_t>(dense, entries, quant_min, out);
  }
  return out;
}

}  // namespace

TORCH_LIBRARY_IMPL(qat_ext, CPU, m) { m.impl("lookup", &lookup); }

}  // namespace qat::ops
