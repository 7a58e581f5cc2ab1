// The mean of codes over any axes.

#include <algorithm>
#include <utility>

#include "numerics/requantize.h"
#include "runtime/operators.h"

namespace qat::runtime {
namespace {

template <typename Code>
void add_codes(const View& input, const Sizes& strides, Sizes& index, Sizes& sums) {
  const Code* codes = input.as<Code>();
  std::fill(index.begin(), index.end(), 0);
  std::fill(sums.begin(), sums.end(), 0);
  int64_t target = 0;
  for (int64_t i = 0; i < input.numel; ++i) {
    sums[static_cast<size_t>(target)] += codes[i];
    for (size_t axis = index.size(); axis-- > 0;) {
      target += strides[axis];
      if (++index[axis] < input.shape[axis]) break;
      target -= strides[axis] * input.shape[axis];
      index[axis] = 0;
    }
  }
}

struct BoundMean {
  const View *input, *output;
  const graph::Value& value;
  int64_t n = 1;  // elements of a mean
  Sizes strides;  // of the sums along the input's axes, 0 where it is reduced
  Sizes sums, index;

  void operator()(int, MacCount&) {
    if (value.format.is_signed) {
      add_codes<int8_t>(*input, strides, index, sums);
    } else {
      add_codes<uint8_t>(*input, strides, index, sums);
    }
    const numerics::QuantParams params = value.qparams;
    for (size_t i = 0; i < sums.size(); ++i) {
      output->as<float>()[i] = numerics::average(sums[i] - n * params.zero_point, params.scale, n);
    }
  }
};

}  // namespace

Binder make_mean(const Site& site, const graph::MeanAttributes& attributes) {
  const auto rank = static_cast<int64_t>(site.input(0).shape.size());
  for (const int64_t axis : attributes.axes) {
    if (axis < 0 || axis >= rank) {
      fail(site.node, "axes " + to_string(attributes.axes) + " are outside an input of rank " +
                          std::to_string(rank));
    }
  }
  return [site, attributes](const Binding& at) -> Bound {
    BoundMean mean{at.inputs[0], at.output, site.input(0), 1, {}, {}, {}};
    Sizes kept = at.inputs[0]->shape, result;
    for (size_t i = 0; i < kept.size(); ++i) {
      const bool reduced = std::count(attributes.axes.begin(), attributes.axes.end(), i) > 0;
      if (reduced) mean.n *= std::exchange(kept[i], 1);
      if (!reduced || attributes.keepdim) result.push_back(kept[i]);
    }
    check_made(site.node, TensorType::float32, result, *at.output);
    mean.strides = row_major_strides(kept);
    for (const int64_t axis : attributes.axes) mean.strides[static_cast<size_t>(axis)] = 0;
    mean.index.resize(kept.size());
    mean.sums.resize(static_cast<size_t>(product(kept)));
    return mean;
  };
}

}  // namespace qat::runtime
