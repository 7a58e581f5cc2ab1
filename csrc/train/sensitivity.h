#pragma once
// What fewer bits in one layer cost.

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "train/bit_groups.h"
#include "train/hessian.h"
#include "train/post_training.h"

namespace qat::train {

enum class SensitivityMethod { loss, hessian };

struct SensitivityOptions {
  SensitivityMethod method = SensitivityMethod::loss;
  std::vector<int> bits;     // ascending
  int64_t rows = 1024;       // of the validation split, at most
  bool activations = false;  // of what a layer reads too; only with method loss
  bool ends = true;          // also of the first and the last layer
  int64_t samples = 16;      // hessian
};

struct GroupSensitivity {
  BitGroup group;
  std::vector<double> values;          // one per bits; empty: not asked for
  std::optional<TraceEstimate> trace;  // hessian: the sum over the group's weights
};

struct Sensitivities {
  SensitivityMethod method = SensitivityMethod::loss;
  std::vector<int> bits;
  int64_t rows = 0;
  double float_loss = 0, eight_bit_loss = 0;  // on these rows
  std::vector<GroupSensitivity> groups;       // in the order of the forward
  // The loss increase that a sensitivity stands for: the second term of Taylor's series has the
  // factor 1/2.
  double increase(double sensitivity) const {
    return method == SensitivityMethod::hessian ? 0.5 * sensitivity : sensitivity;
  }
};

// loss: the loss with the group at b bits and everything else at 8, less the loss with all at 8.
// hessian: trace(H) / n * ||W - Q_b(W)||^2, summed over the group's weights (HAWQ-V2, equation 7).
// progress: called before each measurement.
Sensitivities measure_sensitivities(PostTraining& models, const SensitivityOptions& options,
                                    const std::function<void(int64_t done, int64_t of)>& progress);

// ||W - Q(W)||^2 of the weight as the recipe quantizes it.
double quantization_error(const at::Tensor& weight, const WeightRecipe& recipe,
                          const WeightShape& shape);

}  // namespace qat::train
