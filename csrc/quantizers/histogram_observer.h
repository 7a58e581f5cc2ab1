#pragma once
// What percentile, mse and kl share: they keep a histogram and search it when they are asked.

#include <optional>

#include "numerics/histogram_ranges.h"
#include "quantizers/observer.h"

namespace qat {

class HistogramObserver : public Observer {
 public:
  // name: for messages.
  HistogramObserver(const char* name, const ActivationRecipe& recipe);

  bool needs_values() const override { return true; }
  void observe(const at::Tensor& values) override;
  // Throws qat::Error: a range says nothing about the values inside.
  void observe_range(Range batch) override;
  bool empty() const override;
  // A search takes up to 5 ms; it is repeated where the state has been written since.
  Range range() const override;
  void merge(const Observer& other) override;
  NamedTensors state() const override;

 protected:
  const ActivationRecipe& recipe() const { return recipe_; }
  numerics::CodeRange codes() const {
    return {recipe_.format(), recipe_.symmetry(), recipe_.power_of_two};
  }
  virtual numerics::Interval search(const numerics::Histogram& histogram) const = 0;

 private:
  struct Found {
    int64_t counts_version, extremes_version;  // torch's counts of in-place writes
    Range range;
  };

  const char* name_;
  ActivationRecipe recipe_;
  // The state of observe_histogram_; extremes [inf, -inf]: empty.
  at::Tensor counts_, exponent_, extremes_, tally_;
  mutable std::optional<Found> found_;
};

}  // namespace qat
