#pragma once
// Weights that are held at zero.

#include <ATen/core/Tensor.h>

#include <memory>
#include <string>

#include "quantizers/observer.h"
#include "quantizers/weight_quantizer.h"

namespace qat {

// Input channels that one output channel reads.
int64_t input_channels(const WeightShape& shape);
// Layers below this are pruned only where a rule says so: the first layer of an image network and
// depthwise convolutions, which hold few weights that matter each (Zhu and Gupta 2017, section 4).
constexpr int64_t kFewInputChannels = 4;

// Why a weight of this shape cannot be pruned so; empty when it can.
std::string prune_obstacle(PruneMethod method, const WeightShape& shape);

// Chooses the weights to hold at zero.
class Pruner {
 public:
  virtual ~Pruner() = default;
  // How many weights are zero at this sparsity.
  virtual int64_t zeros(double sparsity) const = 0;
  // bool, shaped like the weight, true where it is kept; `zeros` of them false. Of equals the first
  // goes.
  virtual at::Tensor keep(const at::Tensor& weight, int64_t zeros) const = 0;
  // Whether the choice is made anew by every step of the schedule, even at one sparsity.
  virtual bool chooses_again() const { return false; }
};

std::unique_ptr<Pruner> make_magnitude_pruner(const WeightShape& shape);
std::unique_ptr<Pruner> make_two_of_four_pruner(const WeightShape& shape);
std::unique_ptr<Pruner> make_channel_pruner(const WeightShape& shape);

// Share of the steps -> sparsity: s(t) = sparsity * (1 - (1 - t)^3), t from 0 at `start` to 1 at
// `end` (Zhu and Gupta 2017, equation 1).
double sparsity_at(const PruneRecipe& recipe, double fraction);

// Note [When a mask moves]
// PreparedModel::step says how many weights are to be zero; the next training forward chooses them
// by the weight that it is given, which may be derived from parameters. No forward in eval()
// changes a mask, so what was evaluated is what is converted, and a step(1.0) after loading a
// checkpoint changes nothing.
class PruneMask {
 public:
  PruneMask(const PruneRecipe& recipe, PruneMethod method, const WeightShape& shape);

  void step(double fraction);
  // Follows the schedule where it has moved since.
  void update(const at::Tensor& weight);
  // weight where it is kept, else 0; so is the gradient.
  at::Tensor apply(const at::Tensor& weight) const;
  // Throws qat::Error where a weight that is held at zero has another code.
  void require_zero(const at::Tensor& codes) const;
  // float32[C], 0 for output channels without any weight left.
  at::Tensor channels() const;
  NamedTensors state() const { return {{"mask", mask_}, {"mask_zeros", pending_}}; }

 private:
  PruneRecipe recipe_;
  WeightShape shape_;
  std::unique_ptr<Pruner> pruner_;
  at::Tensor mask_;     // uint8, shaped like the weight
  at::Tensor pending_;  // int64[1]: zeros that the next training forward chooses, or -1
};

}  // namespace qat
