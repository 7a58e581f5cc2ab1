#pragma once
// Weight quantizers: from a float weight to the int8 codes and scales that a layer computes with.

#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "quantizers/observer.h"
#include "quantizers/recipe.h"

namespace qat {

// Which axis of a weight holds the output channels: 0, or 1 for transposed convolutions, where
// with groups the channel is (group, column).
struct WeightShape {
  std::vector<int64_t> sizes;
  int64_t axis = 0, groups = 1;
  int64_t channels() const { return axis == 0 ? sizes.at(0) : sizes.at(1) * groups; }
  bool operator==(const WeightShape&) const = default;
};

struct QuantizedWeight {
  at::Tensor codes;  // int8, shaped like the weight
  at::Tensor scale;  // float32[C]
};

// How the operator quantize_weight makes a weight's codes. axis -1: one scale for all channels; 1:
// of a transposed convolution, one scale per group and column.
struct PlainWeight {
  int64_t axis = 0, groups = 1, channels = 1;
  numerics::IntFormat format;
  bool power_of_two = false;
};

// Note [Gradient of a quantized weight]
// A layer computes with codes alone and hands back the gradient of the dequantized weight. It goes
// to `differentiable`, a tensor shaped like the weight whose autograd history is the method's own
// rule: the weight itself where the method passes it straight through, otherwise the result of a
// node that turns it into gradients of the weight and of the learned parameters. Its values are
// never read.
struct WeightOutcome {
  QuantizedWeight quantized;
  at::Tensor differentiable;
};

struct WeightMode {
  bool training = false;
  bool learn = false;   // nothing is frozen: random rounding, gradients of learned parameters
  bool track = false;   // the first run of a training forward: running statistics move
  int lowest_bits = 0;  // BitsStage: no fewer are in use yet
  bool operator==(const WeightMode&) const = default;
};

class WeightQuantizer {
 public:
  virtual ~WeightQuantizer() = default;
  // Sets learned parameters from the first weight that is quantized.
  virtual void initialize(const at::Tensor& weight) { (void)weight; }
  // weight: float32, shaped as given at construction.
  virtual WeightOutcome quantize(const at::Tensor& weight, WeightMode mode) const = 0;
  // Set where quantize() passes the gradient straight through and does nothing else: all such
  // weights of a model then take one pass.
  virtual std::optional<PlainWeight> plain(WeightMode mode) const {
    (void)mode;
    return std::nullopt;
  }
  // Tensors that exist from construction on; learned ones are leaves that require a gradient.
  virtual NamedTensors state() const { return {}; }
  // float32: what the learned scales are proportional to; undefined where nothing is learned.
  virtual at::Tensor learned_scale() const { return {}; }
};

struct WeightMethod {
  std::string name;
  std::function<std::unique_ptr<WeightQuantizer>(const WeightRecipe&, const WeightShape&)> make;
  // Why the method cannot follow the recipe; empty when it can.
  std::function<std::string(const WeightRecipe&)> obstacle;
};

// Called once per method, before main. The value is of no use.
bool register_weight_method(WeightMethod method);
// Throws qat::Error naming the key of the recipe that the method cannot follow.
void check_weight_recipe(const WeightRecipe& recipe, const std::string& path);
std::unique_ptr<WeightQuantizer> make_weight_quantizer(const WeightRecipe& recipe,
                                                       const WeightShape& shape);

}  // namespace qat
