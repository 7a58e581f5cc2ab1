#include "ops/cpu/chain_view.h"

#include <ATen/Parallel.h>

#include <algorithm>

#include "numerics/quantize.h"
#include "ops/cpu/elementwise.h"

namespace qat::ops {
namespace {

using kernels::ResidualType;

template <typename T>
std::vector<T> tiled_values(const at::Tensor& tensor, const kernels::Tile& tile) {
  const auto values = tensor.contiguous();
  return kernels::repeat(values.const_data_ptr<T>(), values.numel(), T{}, tile);
}

// Adding -0 returns every float unchanged, +0 too; adding +0 would turn -0 into +0.
constexpr float kNoBias = -0.0f;

}  // namespace

ChainView::ChainView(const ChainArguments& arguments, const QuantizerArguments* quantizer,
                     kernels::Tile (*tile_of)(int64_t channels))
    : acc_(to_rows(arguments.acc, arguments.axis)), tile_(tile_of(acc_.size(-1))) {
  if (acc_.scalar_type() == at::kFloat) chain_.acc = acc_.const_data_ptr<float>();
  chain_.width = tile_.width;
  chain_.multiplier = tiled(arguments.multiplier, 1.0f);
  chain_.bias = tiled(arguments.bias, kNoBias);
  chain_.p0 = tiled(arguments.slope, static_cast<float>(arguments.p0));
  chain_.p1 = static_cast<float>(arguments.p1);
  chain_.activation = static_cast<numerics::ActivationKind>(arguments.activation);
  if (arguments.residual) set_residual(arguments);
  if (quantizer != nullptr) set_quantizer(*quantizer);
}

void ChainView::set_residual(const ChainArguments& arguments) {
  residual_ = to_rows(*arguments.residual, arguments.axis);
  chain_.residual = residual_.const_data_ptr();
  if (residual_.scalar_type() == at::kFloat) {
    chain_.residual_type = ResidualType::float32;
    return;
  }
  const bool is_signed = residual_.scalar_type() == at::kChar;
  chain_.residual_type = is_signed ? ResidualType::int8 : ResidualType::uint8;
  chain_.residual_scale = tiled(arguments.residual_scale, 1.0f);
  chain_.residual_zero_point = keep(tiled_values<int32_t>(*arguments.residual_zero_point, tile_));
}

void ChainView::set_quantizer(const QuantizerArguments& quantizer) {
  auto scale = tiled_values<float>(quantizer.scale, tile_);
  std::vector<float> inverse(scale.size());
  std::transform(scale.begin(), scale.end(), inverse.begin(),
                 [](float s) { return numerics::inverse_scale(s); });
  chain_.quantized = true;
  chain_.quantizer = {keep(std::move(scale)),
                      keep(std::move(inverse)),
                      keep(tiled_values<int32_t>(quantizer.zero_point, tile_)),
                      static_cast<float>(quantizer.quant_min),
                      static_cast<float>(quantizer.quant_max),
                      tile_.width};
}

const float* ChainView::tiled(const OptionalTensor& per_channel, float otherwise) {
  if (per_channel) return keep(tiled_values<float>(*per_channel, tile_));
  return keep(std::vector<float>(static_cast<size_t>(tile_.width), otherwise));
}

const float* ChainView::tiled(const std::vector<float>& per_channel) {
  return keep(
      kernels::repeat(per_channel.data(), static_cast<int64_t>(per_channel.size()), 0.0f, tile_));
}

// The heap blocks stay where they are when the outer vectors grow.
const float* ChainView::keep(std::vector<float> values) {
  return floats_.emplace_back(std::move(values)).data();
}

const int32_t* ChainView::keep(std::vector<int32_t> values) {
  return integers_.emplace_back(std::move(values)).data();
}

void ChainView::for_each_range(const std::function<void(int64_t, int64_t)>& run) const {
  const int64_t total = elements();
  const int64_t tiles = (total + tile_.width - 1) / tile_.width;
  const int64_t grain = std::max<int64_t>(1, kGrain / tile_.width);
  at::parallel_for(0, tiles, grain, [&](int64_t first, int64_t last) {
    run(first * tile_.width, std::min(last * tile_.width, total));
  });
}

std::vector<std::vector<double>> ChainView::sum_over_rows(
    int sums, const std::function<void(int64_t, int64_t, double* const*)>& run) const {
  const int64_t total = elements(), count = channels();
  const auto blocks = kernels::make_blocks(total, tile_);
  std::vector<double> partial(static_cast<size_t>(blocks.count * sums * count));
  at::parallel_for(0, blocks.count, 1, [&](int64_t first, int64_t last) {
    std::vector<double> columns(static_cast<size_t>(sums * tile_.width));
    std::vector<double*> pointers;
    for (int s = 0; s < sums; ++s) pointers.push_back(columns.data() + s * tile_.width);
    for (int64_t b = first; b < last; ++b) {
      std::fill(columns.begin(), columns.end(), 0.0);
      run(b * blocks.elements, std::min((b + 1) * blocks.elements, total), pointers.data());
      for (int s = 0; s < sums; ++s) {
        kernels::fold_tile(pointers[s], tile_, partial.data() + (b * sums + s) * count);
      }
    }
  });
  std::vector<std::vector<double>> result(sums, std::vector<double>(static_cast<size_t>(count)));
  for (int64_t b = 0; b < blocks.count; ++b) {
    for (int s = 0; s < sums; ++s) {
      const double* part = partial.data() + (b * sums + s) * count;
      for (int64_t c = 0; c < count; ++c) result[s][static_cast<size_t>(c)] += part[c];
    }
  }
  return result;
}

}  // namespace qat::ops
