#pragma once
// Observers: what the values seen so far say about the range that codes should cover.

#include <ATen/core/Tensor.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "named_tensors.h"
#include "quantizers/recipe.h"

namespace qat {

struct Range {
  float lo = 0.0f, hi = 0.0f;
  bool operator==(const Range&) const = default;
};

// One tensor's statistics. The state is a set of tensors that exist from construction on with their
// final shapes and are written in place, so that a checkpoint restores them.
class Observer {
 public:
  virtual ~Observer() = default;

  // Whether observe_range() is enough, so that the fused training pass can go on observing. Other
  // observers see whole tensors during calibration, and their range stands still in training.
  virtual bool needs_values() const = 0;
  // values: float32, any shape. Values that are not finite are not counted.
  virtual void observe(const at::Tensor& values) = 0;
  // The smallest and the largest finite value of one batch.
  virtual void observe_range(Range batch) = 0;

  virtual bool empty() const = 0;
  // The range to cover with the codes of the recipe; finite, lo <= hi. Not to be called while
  // empty().
  virtual Range range() const = 0;

  // Takes in what another observer of the same recipe saw elsewhere. The order of merging does not
  // matter, to the bit, where the state is counts and extremes.
  virtual void merge(const Observer& other) = 0;
  virtual NamedTensors state() const = 0;
};

// observer: one of observer_names().
std::unique_ptr<Observer> make_observer(const std::string& observer,
                                        const ActivationRecipe& recipe);

}  // namespace qat
