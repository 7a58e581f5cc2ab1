// The mean of codes over any axes.

#include <algorithm>
#include <utility>

#include "numerics/requantize.h"
#include "runtime/operators.h"

namespace qat::runtime {
namespace {

template <typename Code>
void add_codes(const Tensor& input, const Sizes& strides, std::vector<int64_t>& sums) {
  const Code* codes = input.data<Code>();
  Sizes index(input.shape.size(), 0);
  int64_t target = 0;
  for (int64_t i = 0, n = input.numel(); i < n; ++i) {
    sums[static_cast<size_t>(target)] += codes[i];
    for (size_t axis = index.size(); axis-- > 0;) {
      target += strides[axis];
      if (++index[axis] < input.shape[axis]) break;
      target -= strides[axis] * input.shape[axis];
      index[axis] = 0;
    }
  }
}

}  // namespace

Operator make_mean(const Site& site, const graph::MeanAttributes& attributes) {
  const auto rank = static_cast<int64_t>(site.input(0).shape.size());
  for (const int64_t axis : attributes.axes) {
    if (axis < 0 || axis >= rank) {
      fail(site.node, "axes " + to_string(attributes.axes) + " are outside an input of rank " +
                          std::to_string(rank));
    }
  }
  return [site, attributes](const Inputs& inputs, int64_t, MacCount&) {
    const Tensor& input = *inputs[0];
    Sizes kept = input.shape, result;
    int64_t n = 1;
    for (size_t i = 0; i < kept.size(); ++i) {
      const bool reduced = std::count(attributes.axes.begin(), attributes.axes.end(), i) > 0;
      if (reduced) n *= std::exchange(kept[i], 1);
      if (!reduced || attributes.keepdim) result.push_back(kept[i]);
    }
    Sizes strides = row_major_strides(kept);
    for (const int64_t axis : attributes.axes) strides[static_cast<size_t>(axis)] = 0;
    std::vector<int64_t> sums(static_cast<size_t>(product(kept)));
    if (site.input(0).format.is_signed) {
      add_codes<int8_t>(input, strides, sums);
    } else {
      add_codes<uint8_t>(input, strides, sums);
    }
    Tensor output = make_tensor(TensorType::float32, std::move(result));
    const numerics::QuantParams params = site.input(0).qparams;
    for (size_t i = 0; i < sums.size(); ++i) {
      output.data<float>()[i] = numerics::average(sums[i] - n * params.zero_point, params.scale, n);
    }
    return only(std::move(output));
  };
}

}  // namespace qat::runtime
