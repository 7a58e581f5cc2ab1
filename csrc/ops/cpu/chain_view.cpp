#include "ops/cpu/chain_view.h"

#include <ATen/Parallel.h>

#include <algorithm>

#include "numerics/quantize.h"
#include "ops/cpu/elementwise.h"

namespace qat::ops {
namespace {

using kernels::ResidualType;

// Adding -0 returns every float unchanged, +0 too; adding +0 would turn -0 into +0.
constexpr float kNoBias = -0.0f;

}  // namespace

void* TileMemory::take_words(size_t count) {
  if (count <= kWords - used_) {
    used_ += count;
    return near_.data() + (used_ - count);
  }
  return far_.emplace_back(new float[count]).get();
}

ChainView::ChainView(const ChainArguments& arguments, const QuantizerArguments* quantizer,
                     kernels::Tile (*tile_of)(int64_t channels))
    : acc_(in_rows(arguments.acc, arguments.axis)),
      channels_(acc_.size(arguments.axis)),
      elements_(acc_.numel()),
      tile_(tile_of(channels_)),
      filled_(std::min(tile_.width, elements_)) {
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
  residual_ = in_rows(*arguments.residual, arguments.axis);
  chain_.residual = residual_.const_data_ptr();
  if (residual_.scalar_type() == at::kFloat) {
    chain_.residual_type = ResidualType::float32;
    return;
  }
  const bool is_signed = residual_.scalar_type() == at::kChar;
  chain_.residual_type = is_signed ? ResidualType::int8 : ResidualType::uint8;
  chain_.residual_scale = tiled(arguments.residual_scale, 1.0f);
  chain_.residual_zero_point = tile_of<int32_t>(*arguments.residual_zero_point);
}

void ChainView::set_quantizer(const QuantizerArguments& quantizer) {
  const auto* scale = tile_of<float>(quantizer.scale);
  auto* inverse = memory_.take<float>(filled_);
  std::transform(scale, scale + filled_, inverse,
                 [](float s) { return numerics::inverse_scale(s); });
  chain_.quantized = true;
  chain_.quantizer = {scale,
                      inverse,
                      tile_of<int32_t>(quantizer.zero_point),
                      static_cast<float>(quantizer.quant_min),
                      static_cast<float>(quantizer.quant_max),
                      tile_.width};
}

template <typename T>
const T* ChainView::tile_of(const T* values, int64_t count) {
  T* to = memory_.take<T>(filled_);
  if (count == 1) {
    std::fill(to, to + filled_, *values);
    return to;
  }
  int64_t done = std::min(count, filled_);
  std::copy(values, values + done, to);
  while (done < filled_) {  // what is there, once more: filled_ is a multiple of the channels
    const int64_t next = std::min(done, filled_ - done);
    std::copy(to, to + next, to + done);
    done += next;
  }
  return to;
}

template <typename T>
const T* ChainView::tile_of(const at::Tensor& per_channel) {
  const auto values = per_channel.expect_contiguous();
  return tile_of(values->const_data_ptr<T>(), values->numel());
}

const float* ChainView::tiled(const OptionalTensor& per_channel, float otherwise) {
  return per_channel ? tile_of<float>(*per_channel) : tile_of(&otherwise, 1);
}

const float* ChainView::tiled(const std::vector<float>& per_channel) {
  return tile_of(per_channel.data(), static_cast<int64_t>(per_channel.size()));
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
    std::vector<double> columns(static_cast<size_t>(sums * filled_));
    std::vector<double*> pointers;
    for (int s = 0; s < sums; ++s) pointers.push_back(columns.data() + s * filled_);
    for (int64_t b = first; b < last; ++b) {
      if (b > first) std::fill(columns.begin(), columns.end(), 0.0);
      run(b * blocks.elements, std::min((b + 1) * blocks.elements, total), pointers.data());
      for (int s = 0; s < sums; ++s) {
        // The columns left out are zeros, which change no sum: none of them is -0.
        kernels::fold_tile(pointers[s], {tile_.channels, filled_},
                           partial.data() + (b * sums + s) * count);
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
