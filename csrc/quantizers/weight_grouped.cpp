// Groups and zero points of weights by rule 15: a factor from 1 to 127 / (largest code) for each
// group, in the manner of VS-Quant (Dai et al., MLSys 2021), whose scales are integers times one
// float. Ranges reach the largest weights, so that the gradient passes straight through.

#include "quantizers/weight_grouped.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include <algorithm>

#include "kernels/cpu/kernels.h"
#include "numerics/float_order.h"
#include "numerics/quantize.h"
#include "numerics/weight_groups.h"
#include "quantizers/weight_common.h"

namespace qat::quantizers {
namespace {

struct Range {
  float lo = 0.0f, hi = 0.0f;
};

// Of the finite weights.
Range range_of(const float* weights, int64_t count) {
  kernels::RangeKeys keys;
  kernels::kernels().range(weights, count, &keys);
  if (keys.minimum > keys.maximum) return {};
  return {numerics::float_at(keys.minimum), numerics::float_at(keys.maximum)};
}

void quantize_group(const float* weights, int64_t count, const numerics::WeightGroup& group,
                    numerics::IntFormat format, int8_t* codes) {
  const float inverse = numerics::inverse_scale(group.scale);
  const kernels::Quantizer quantizer{&group.scale,
                                     &inverse,
                                     &group.zero_point,
                                     static_cast<float>(format.quant_min()),
                                     static_cast<float>(format.quant_max()),
                                     1};
  kernels::kernels().quantize(quantizer, weights, reinterpret_cast<uint8_t*>(codes), count);
  if (group.factor == 1 && group.zero_point == 0) return;
  // An unsigned code has at most 7 bits: as int8 it is what it was.
  for (int64_t i = 0; i < count; ++i) {
    codes[i] = static_cast<int8_t>(group.factor * (codes[i] - group.zero_point));
  }
}

class Grouped final : public WeightQuantizer {
 public:
  Grouped(WeightRecipe recipe, WeightShape shape)
      : recipe_(std::move(recipe)), shape_(std::move(shape)) {}

  WeightOutcome quantize(const at::Tensor& weight, WeightMode mode) const override {
    const WeightRecipe now = in_stage(recipe_, mode);
    at::Tensor rows = channel_rows(weight.detach(), shape_);
    const bool shared = now.granularity == Granularity::tensor;
    if (shared) rows = rows.reshape({1, -1});
    const at::Tensor codes = at::empty_like(rows, rows.options().dtype(at::kChar));
    const at::Tensor scale = at::empty({rows.size(0)}, rows.options());
    at::parallel_for(0, rows.size(0), 1, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        const int64_t first = row * rows.size(1);
        scale.mutable_data_ptr<float>()[row] =
            quantize_row(now, rows.const_data_ptr<float>() + first, rows.size(1),
                         codes.mutable_data_ptr<int8_t>() + first);
      }
    });
    const at::Tensor shaped = from_channel_rows(codes, shape_);
    return {{shaped.contiguous(weight.suggest_memory_format()),
             shared ? scale.expand({shape_.channels()}).contiguous() : scale},
            weight};
  }

 private:
  static float quantize_row(const WeightRecipe& recipe, const float* weights, int64_t size,
                            int8_t* codes) {
    const numerics::IntFormat format = recipe.format();
    const bool grouped = recipe.granularity == Granularity::group;
    const auto layout = numerics::group_layout(size, grouped ? recipe.group : size);
    const int32_t most = layout.count == 1 ? 1 : numerics::largest_factor(format);
    const auto size_of = [&](int64_t group) {
      return std::min(layout.size, size - group * layout.size);
    };
    std::vector<Range> ranges;
    std::vector<float> scales;
    for (int64_t g = 0; g < layout.count; ++g) {
      ranges.push_back(range_of(weights + g * layout.size, size_of(g)));
      scales.push_back(numerics::group_scale(ranges.back().lo, ranges.back().hi, format));
    }
    const float largest = *std::max_element(scales.begin(), scales.end());
    const float shared = numerics::shared_scale(largest, most, recipe.power_of_two);
    for (int64_t g = 0; g < layout.count; ++g) {
      const auto k = static_cast<size_t>(g);
      const auto group = numerics::weight_group(ranges[k].lo, scales[k], shared, most, format);
      const int64_t first = g * layout.size;
      quantize_group(weights + first, size_of(g), group, format, codes + first);
    }
    return shared;
  }

  WeightRecipe recipe_;
  WeightShape shape_;
};

}  // namespace

std::unique_ptr<WeightQuantizer> make_grouped_quantizer(const WeightRecipe& recipe,
                                                        const WeightShape& shape) {
  return std::make_unique<Grouped>(recipe, shape);
}

}  // namespace qat::quantizers
