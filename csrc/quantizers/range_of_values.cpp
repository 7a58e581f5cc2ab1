#include "quantizers/range_of_values.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/zeros.h>

namespace qat {
namespace {

struct Extremes {
  at::Tensor min, max, count;
};

// axis -1: of the whole tensor.
Extremes extremes_of(const at::Tensor& values, int64_t axis) {
  using Observe =
      void(const at::Tensor&, at::Tensor, at::Tensor, at::Tensor, int64_t axis, double momentum);
  static const auto observe = c10::Dispatcher::singleton()
                                  .findSchemaOrThrow("qat_ext::observe_minmax_", "")
                                  .typed<Observe>();
  const auto real = values.options().dtype(at::kFloat).requires_grad(false);
  const int64_t channels = axis == -1 ? 1 : values.size(axis);
  const Extremes found = {at::zeros({channels}, real), at::zeros({channels}, real),
                          at::zeros({1}, real.dtype(at::kLong))};
  observe.call(values.detach(), found.min, found.max, found.count, axis, 1.0);
  return found;
}

}  // namespace

std::optional<Range> range_of_values(const at::Tensor& values) {
  const Extremes found = extremes_of(values, -1);
  if (found.count.item<int64_t>() == 0) return std::nullopt;
  return Range{found.min.item<float>() + 0.0f, found.max.item<float>() + 0.0f};
}

std::tuple<at::Tensor, at::Tensor> channel_ranges(const at::Tensor& values, int64_t axis) {
  const Extremes found = extremes_of(values.to(at::kFloat), axis);
  return {found.min, found.max};
}

}  // namespace qat
