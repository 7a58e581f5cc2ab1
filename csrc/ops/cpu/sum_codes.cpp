#include "kernels/cpu/sum_codes.h"

#include <ATen/Parallel.h>
#include <torch/library.h>

#include "ops/chain.h"
#include "ops/conv_arguments.h"
#include "ops/cpu/elementwise.h"

namespace qat::ops {
namespace {

at::Tensor sum_codes(const at::Tensor& codes, int64_t zero_point) {
  check_sum_codes(codes, zero_point);
  auto out = empty_code_sums(codes);
  if (out.numel() == 0) return out;
  const auto rows = to_rows(codes, 1);
  const int64_t images = codes.size(0), channels = codes.size(1);
  const int64_t positions = codes.numel() / (images * channels);
  const auto* from = static_cast<const uint8_t*>(rows.const_data_ptr());
  auto* to = out.mutable_data_ptr<int64_t>();
  const bool is_signed = codes.scalar_type() == at::kChar;
  const int64_t image = positions * channels;
  const int64_t grain = std::max<int64_t>(1, kGrain / std::max<int64_t>(1, image));
  at::parallel_for(0, images, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      kernels::sum_codes(from + i * image, is_signed, positions, channels, to + i * channels);
      for (int64_t c = 0; c < channels; ++c) to[i * channels + c] -= zero_point * positions;
    }
  });
  return out;
}

}  // namespace

TORCH_LIBRARY_IMPL(qat_ext, CPU, m) { m.impl("sum_codes", &sum_codes); }

}  // namespace qat::ops
