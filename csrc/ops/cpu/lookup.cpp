#include <ATen/Parallel.h>
#include <ATen/ops/empty_like.h>
#include <torch/library.h>

#include <algorithm>
#include <array>

#include "kernels/cpu/byte_table.h"
#include "ops/check_quantize.h"
#include "ops/cpu/elementwise.h"

namespace qat::ops {
namespace {

// One entry for each bit pattern of a code byte. Bytes that are no code of the format take the
// entry of the nearest one, so that no read leaves the table.
template <typename T>
std::array<T, 256> widen(const at::Tensor& table, bool is_signed, int64_t quant_min) {
  const T* entries = static_cast<const T*>(table.const_data_ptr());
  std::array<T, 256> wide;
  for (int byte = 0; byte < 256; ++byte) {
    const int64_t code = is_signed ? static_cast<int8_t>(byte) : byte;
    wide[static_cast<size_t>(byte)] =
        entries[std::clamp<int64_t>(code - quant_min, 0, table.numel() - 1)];
  }
  return wide;
}

template <typename T>
void look_up(const at::Tensor& codes, const at::Tensor& table, int64_t quant_min, at::Tensor& out) {
  const auto wide = widen<T>(table, codes.scalar_type() == at::kChar, quant_min);
  const auto* from = static_cast<const uint8_t*>(codes.const_data_ptr());
  T* to = static_cast<T*>(out.mutable_data_ptr());
  at::parallel_for(0, codes.numel(), kGrain, [&](int64_t begin, int64_t end) {
    if constexpr (sizeof(T) == 1) {
      kernels::map_bytes(from + begin, to + begin, end - begin, wide);
    } else {
      kernels::map_each(from + begin, to + begin, end - begin, wide);
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
