// The range with the smallest expected squared error.

#include "quantizers/histogram_observer.h"
#include "quantizers/observers.h"

namespace qat {
namespace {

class MeanSquaredError : public HistogramObserver {
 public:
  explicit MeanSquaredError(const ActivationRecipe& recipe) : HistogramObserver("mse", recipe) {}

 protected:
  numerics::Interval search(const numerics::Histogram& histogram) const override {
    return numerics::mse_range(histogram, codes());
  }
};

}  // namespace

std::unique_ptr<Observer> make_mse(const ActivationRecipe& recipe) {
  return std::make_unique<MeanSquaredError>(recipe);
}

}  // namespace qat
