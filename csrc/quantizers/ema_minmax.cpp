// A running mean of the batches' extremes (docs/methods.md).

#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>

#include "quantizers/number.h"
#include "quantizers/observers.h"
#include "quantizers/range_of_values.h"

namespace qat {
namespace {

// float arithmetic; where seen - old leaves float's range, once more in double.
float moved(float old, float seen, float share) {
  const float next = old + share * (seen - old);
  if (std::isfinite(next)) return next;
  const double from = old;
  return static_cast<float>(from + double{share} * (double{seen} - from));
}

float weighted_mean(float a, int64_t count_a, float b, int64_t count_b) {
  const auto n = static_cast<double>(count_a), m = static_cast<double>(count_b);
  return static_cast<float>((n * a + m * b) / (n + m));
}

class EmaMinMax : public Observer {
 public:
  explicit EmaMinMax(double momentum)
      : momentum_(momentum),
        min_(at::zeros({1}, at::kFloat)),
        max_(at::zeros({1}, at::kFloat)),
        count_(at::zeros({1}, at::kLong)) {}

  bool needs_values() const override { return false; }

  void observe(const at::Tensor& values) override {
    if (const auto batch = range_of_values(values)) observe_range(*batch);
  }

  void observe_range(Range batch) override {
    const int64_t n = count();
    // A mean of all batches until it is as slow as the recipe's momentum.
    const auto share = static_cast<float>(std::max(momentum_, 1.0 / static_cast<double>(n + 1)));
    set_number(min_, moved(number<float>(min_), batch.lo, share));
    set_number(max_, moved(number<float>(max_), batch.hi, share));
    set_number(count_, n + 1);
  }

  bool empty() const override { return count() == 0; }

  Range range() const override {
    const float lo = number<float>(min_), hi = number<float>(max_);
    return {std::min(lo, hi), std::max(lo, hi)};  // rounding may cross two ends that are equal
  }

  // The mean weighted by the numbers of batches. Rounded once for each merge, so that the last bit
  // depends on the order.
  void merge(const Observer& observer) override {
    const auto& other = same_kind<EmaMinMax>(observer);
    const int64_t n = count(), m = other.count();
    if (n + m == 0) return;
    const auto mean = [n, m](const at::Tensor& mine, const at::Tensor& theirs) {
      set_number(mine, weighted_mean(number<float>(mine), n, number<float>(theirs), m));
    };
    mean(min_, other.min_);
    mean(max_, other.max_);
    set_number(count_, n + m);
  }

  NamedTensors state() const override { return {{"min", min_}, {"max", max_}, {"count", count_}}; }

 private:
  int64_t count() const { return number<int64_t>(count_); }

  double momentum_;
  at::Tensor min_, max_, count_;
};

}  // namespace

std::unique_ptr<Observer> make_ema_minmax(const ActivationRecipe& recipe) {
  return std::make_unique<EmaMinMax>(recipe.momentum);
}

}  // namespace qat
