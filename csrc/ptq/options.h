#pragma once
// What the steps of post-training quantization take; free of torch.

#include <cstdint>
#include <string>

#include "quantizers/recipe.h"

namespace qat::ptq {

enum class Step { equalize, batch_norm, bias_correction, adaround };
constexpr const char* kStepNames[] = {"equalize", "batch_norm", "bias_correction", "adaround"};

struct AdaroundOptions {
  int64_t iterations = 500;
  double lr = 1e-2;
  double regularizer = 1.0;              // weight of the term that drives roundings to 0 or 1
  double beta_start = 20, beta_end = 2;  // its exponent, from the end of the warm-up to the end
  double warmup = 0.2;                   // share of the iterations without that term
  int64_t batch = 32;                    // rows per iteration
  int64_t samples = 1024;                // rows of the calibration batches that are kept
  int64_t seed = 0;                      // of the choice of rows
};

// Why adaround() cannot set the codes of such a weight; empty when it can.
std::string adaround_obstacle(const WeightRecipe& recipe);

}  // namespace qat::ptq
