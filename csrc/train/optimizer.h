#pragma once
// torch's optimizers with weight-decay groups and a state made of named tensors.

#include <torch/optim/optimizer.h>

#include <memory>
#include <string>
#include <vector>

#include "named_tensors.h"
#include "train/job.h"

namespace qat::train {

class Optimizer {
 public:
  // Parameters of rank 0 or 1 (biases, norms) get no weight decay. learned: scales and zero points,
  // with a rate and a weight decay of their own; listed as "quantizer.<name>".
  Optimizer(const OptimizerSpec& spec, NamedTensors parameters, const NamedTensors& learned = {},
            const LearnedRecipe& recipe = {});

  void set_rate(double rate);
  void zero_grad() { torch_->zero_grad(); }
  // Returns the norm of all gradients before clipping, or 0 when clip_norm is 0.
  double clip(double clip_norm);
  void step() { torch_->step(); }

  // "<parameter>.momentum_buffer", or ".step", ".exp_avg", ".exp_avg_sq". Empty before the first
  // step.
  NamedTensors state() const;
  // Takes what state() gave, in an optimizer of the same kind and parameters.
  void load(const NamedTensors& state);

 private:
  OptimizerSpec spec_;
  NamedTensors parameters_;
  std::vector<double> rate_factors_;  // per group
  std::unique_ptr<torch::optim::Optimizer> torch_;
};

}  // namespace qat::train
