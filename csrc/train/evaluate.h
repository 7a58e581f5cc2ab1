#pragma once
// Accuracy and per-class figures of anything that maps a batch to logits.

#include <functional>
#include <vector>

#include "train/data.h"

namespace qat::train {

using Forward = std::function<at::Tensor(const at::Tensor&)>;

struct ClassFigures {
  double precision, recall, f1;  // 0 where the class was never predicted or never there
  int64_t samples;
};

struct Evaluation {
  double loss_sum = 0;             // cross entropy, summed over the samples
  std::vector<int64_t> confusion;  // [true class * classes + predicted class]
  int64_t classes = 0;

  int64_t samples() const;
  double accuracy() const;
  double loss() const { return loss_sum / static_cast<double>(samples()); }
  std::vector<ClassFigures> per_class() const;
};

// Runs without gradients. The model's mode is the caller's affair.
Evaluation evaluate(const Forward& forward, BatchSource& source, int64_t classes);

}  // namespace qat::train
