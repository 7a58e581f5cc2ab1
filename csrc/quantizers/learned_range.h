#pragma once
// Learned ranges: activation quantizers whose scale, and zero point, are parameters.

#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>
#include <string>

#include "numerics/qparams.h"
#include "quantizers/observer.h"
#include "quantizers/recipe.h"

namespace qat {

// Where the gradients of scale and zero point go, float32[1] each; undefined: not learned.
struct RangeEdges {
  at::Tensor scale, zero_point;
  bool clipped_only = false;  // the scale learns from clipped values alone (PACT)
  bool any() const { return scale.defined() || zero_point.defined(); }
};

// Note [Bits in stages]
// Parameters belong to the format of the recipe. Where a stage of the schedule asks for more bits
// (BitsStage) the same range is cut finer: the scale is multiplied by the ratio of the largest
// codes, the zero point divided by it, and nothing that an optimizer holds is rewritten. The same
// holds for learned scales of weights.
class LearnedRange {
 public:
  virtual ~LearnedRange() = default;
  // Starts from calibrated parameters.
  virtual void initialize(numerics::QuantParams calibrated) = 0;
  // What codes of `now` are made with; the scale is finite and positive whatever the optimizer did.
  virtual numerics::QuantParams params(numerics::IntFormat now) const = 0;
  // elements: of one sample's tensor.
  virtual RangeEdges edges(int64_t elements, numerics::IntFormat now) const = 0;
  // The range that is covered, without rounding to a power of two or a zero point.
  virtual Range range() const = 0;
  // Leaves that require a gradient, and buffers; they exist from construction on.
  virtual NamedTensors state() const = 0;
};

// How much finer codes of `now` are than those of the format that the parameters belong to.
double times_finer(numerics::IntFormat now, numerics::IntFormat of);
// The code of a zero point among those of `now`, which are `times` finer.
int32_t zero_code(float zero_point, double times, numerics::IntFormat now);
// What codes of a format with these parameters cover.
Range covered(double scale, double zero_point, numerics::IntFormat format);

struct RangeMethod {
  std::string name;
  std::function<std::unique_ptr<LearnedRange>(const ActivationRecipe&)> make;
  // Why the method cannot follow the recipe; empty when it can.
  std::function<std::string(const ActivationRecipe&)> obstacle;
};

bool register_range_method(RangeMethod method);
// Throws qat::Error naming the key of the recipe that the method cannot follow.
void check_activation_recipe(const ActivationRecipe& recipe, const std::string& path);
// nullptr where the method is an observer.
std::unique_ptr<LearnedRange> make_learned_range(const ActivationRecipe& recipe);
// The observer behind a method: itself, or what sets the first range of a learned one.
const std::string& observer_of(const ActivationRecipe& recipe);

}  // namespace qat
