#pragma once
// Weights in groups of their own factors, or with zero points: rule 15 of docs/numerics.md.

#include <memory>

#include "quantizers/weight_quantizer.h"

namespace qat::quantizers {

// recipe.in_groups().
std::unique_ptr<WeightQuantizer> make_grouped_quantizer(const WeightRecipe& recipe,
                                                        const WeightShape& shape);

}  // namespace qat::quantizers
