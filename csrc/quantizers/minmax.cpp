// The extremes of everything that was seen.

#include <ATen/ops/zeros.h>

#include <algorithm>

#include "quantizers/number.h"
#include "quantizers/observers.h"
#include "quantizers/range_of_values.h"

namespace qat {
namespace {

class MinMax : public Observer {
 public:
  bool needs_values() const override { return false; }

  void observe(const at::Tensor& values) override {
    if (const auto batch = range_of_values(values)) observe_range(*batch);
  }

  void observe_range(Range batch) override { take({batch.lo + 0.0f, batch.hi + 0.0f}, 1); }

  bool empty() const override { return count() == 0; }
  Range range() const override { return {number<float>(min_), number<float>(max_)}; }

  void merge(const Observer& observer) override {
    const auto& other = same_kind<MinMax>(observer);
    if (!other.empty()) take(other.range(), other.count());
  }

  NamedTensors state() const override { return {{"min", min_}, {"max", max_}, {"count", count_}}; }

 private:
  int64_t count() const { return number<int64_t>(count_); }

  void take(Range seen, int64_t batches) {
    const Range old = empty() ? seen : range();
    set_number(min_, std::min(old.lo, seen.lo));
    set_number(max_, std::max(old.hi, seen.hi));
    set_number(count_, count() + batches);
  }

  at::Tensor min_ = at::zeros({1}, at::kFloat);
  at::Tensor max_ = at::zeros({1}, at::kFloat);
  at::Tensor count_ = at::zeros({1}, at::kLong);
};

}  // namespace

std::unique_ptr<Observer> make_minmax(const ActivationRecipe&) {
  return std::make_unique<MinMax>();
}

}  // namespace qat
