// The range whose codes tell most about the distribution.

#include "quantizers/histogram_observer.h"
#include "quantizers/observers.h"

namespace qat {
namespace {

class RelativeEntropy : public HistogramObserver {
 public:
  explicit RelativeEntropy(const ActivationRecipe& recipe) : HistogramObserver("kl", recipe) {}

 protected:
  numerics::Interval search(const numerics::Histogram& histogram) const override {
    return numerics::kl_range(histogram, codes());
  }
};

}  // namespace

std::unique_ptr<Observer> make_kl(const ActivationRecipe& recipe) {
  return std::make_unique<RelativeEntropy>(recipe);
}

}  // namespace qat
