#include <ATen/Parallel.h>
#include <torch/library.h>

#include <algorithm>
#include <mutex>
#include <vector>

#include "kernels/cpu/range_keys.h"
#include "kernels/cpu/tile.h"
#include "kernels/running_range.h"
#include "ops/chain.h"
#include "ops/check_quantize.h"
#include "ops/cpu/elementwise.h"

namespace qat::ops {
namespace {

using kernels::RangeKeys;

std::vector<RangeKeys> range_of_tensor(const at::Tensor& x) {
  RangeKeys all;
  std::mutex mutex;
  const float* data = x.const_data_ptr<float>();
  at::parallel_for(0, x.numel(), kGrain, [&](int64_t begin, int64_t end) {
    RangeKeys keys;
    kernels::kernels().range(data + begin, end - begin, &keys);
    const std::lock_guard lock(mutex);
    kernels::merge(all, keys);
  });
  return {all};
}

// rows: [..., C] contiguous.
std::vector<RangeKeys> range_of_channels(const at::Tensor& rows) {
  const int64_t channels = rows.size(-1), total = rows.numel();
  const auto tile = kernels::make_tile(channels);
  const int64_t tiles = (total + tile.width - 1) / tile.width;
  std::vector<RangeKeys> all(static_cast<size_t>(channels));
  std::mutex mutex;
  const float* data = rows.const_data_ptr<float>();
  const int64_t grain = std::max<int64_t>(1, kGrain / tile.width);
  at::parallel_for(0, tiles, grain, [&](int64_t first, int64_t last) {
    const auto width = static_cast<size_t>(tile.width);
    std::vector<int32_t> minimum(width, INT32_MAX), maximum(width, INT32_MIN);
    const int64_t begin = first * tile.width, end = std::min(last * tile.width, total);
    kernels::kernels().range_per_channel(data + begin, end - begin, tile.width, minimum.data(),
                                         maximum.data());
    const std::lock_guard lock(mutex);
    for (size_t j = 0; j < width; ++j) {
      kernels::merge(all[j % static_cast<size_t>(channels)], {minimum[j], maximum[j]});
    }
  });
  return all;
}

void update(const std::vector<RangeKeys>& batch, bool first, float momentum, float* min,
            float* max) {
  for (size_t c = 0; c < batch.size(); ++c) {
    if (!kernels::is_set(batch[c])) continue;
    const float low = numerics::float_at(batch[c].minimum);
    const float high = numerics::float_at(batch[c].maximum);
    min[c] = first ? low : kernels::follow_minimum(min[c], low, momentum);
    max[c] = first ? high : kernels::follow_maximum(max[c], high, momentum);
  }
}

void observe_minmax(const at::Tensor& x, at::Tensor min, at::Tensor max, at::Tensor count,
                    int64_t axis, double momentum) {
  check_observe_minmax(x, min, max, count, axis, momentum);
  const auto real = x.to(at::kFloat);
  const bool dense = real.is_non_overlapping_and_dense();
  const auto batch = axis == -1 ? range_of_tensor(dense ? real : real.contiguous())
                                : range_of_channels(to_rows(real, axis));
  const bool any = std::any_of(batch.begin(), batch.end(), kernels::is_set);
  if (!any) return;
  auto low = min.contiguous(), high = max.contiguous();
  auto* seen = count.mutable_data_ptr<int64_t>();
  update(batch, *seen == 0, static_cast<float>(momentum), low.mutable_data_ptr<float>(),
         high.mutable_data_ptr<float>());
  ++*seen;
  if (!low.is_same(min)) min.copy_(low);
  if (!high.is_same(max)) max.copy_(high);
  for (const at::Tensor& written : {min, max, count}) {
    if (!written.is_inference()) written.unsafeGetTensorImpl()->bump_version();
  }
}

}  // namespace

TORCH_LIBRARY_IMPL(qat_ext, CPU, m) { m.impl("observe_minmax_", &observe_minmax); }

}  // namespace qat::ops
