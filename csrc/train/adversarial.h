#pragma once
// Inputs moved to where a model's loss is large (docs/methods.md).

#include <ATen/core/Generator.h>

#include "train/data.h"
#include "train/evaluate.h"

namespace qat::train {

// In the units of the model's input, each to be broadcast over a batch.
struct InputBounds {
  at::Tensor low, high;  // what the data can be
  at::Tensor unit;       // 1 of the data before normalisation
};

// Bytes are 0 to 255; other data lie between the least and the greatest training value of their
// channel.
InputBounds input_bounds(const DataSet& data);

// The attack of a phase or an evaluation. What it draws is a function of seed, epoch and index.
struct Attack {
  AttackSpec spec;
  InputBounds bounds;
  uint64_t seed = 0;

  at::Tensor operator()(const Forward& forward, const Batch& batch, int64_t epoch,
                        int64_t index) const;
};

// The batches of `clean` with their inputs attacked through `forward`.
class AttackedBatches : public BatchSource {
 public:
  AttackedBatches(BatchSource& clean, Forward forward, Attack attack);
  int64_t batches() const override { return clean_.batches(); }
  Batch batch(int64_t epoch, int64_t index) override;

 private:
  BatchSource& clean_;
  Forward forward_;
  Attack attack_;
};

}  // namespace qat::train
