// The range without the outermost values of either side.

#include "quantizers/histogram_observer.h"
#include "quantizers/observers.h"

namespace qat {
namespace {

class Percentile : public HistogramObserver {
 public:
  explicit Percentile(const ActivationRecipe& recipe) : HistogramObserver("percentile", recipe) {}

 protected:
  numerics::Interval search(const numerics::Histogram& histogram) const override {
    return numerics::percentile_range(histogram, recipe().percentile);
  }
};

}  // namespace

std::unique_ptr<Observer> make_percentile(const ActivationRecipe& recipe) {
  return std::make_unique<Percentile>(recipe);
}

}  // namespace qat
