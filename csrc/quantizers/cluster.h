#pragma once
// Weight sharing: a layer has a few distinct weights.

#include <memory>

#include "quantizers/weight_quantizer.h"

namespace qat {

// with_zero: weights that are exactly 0 stay 0, and one of the values is 0; for pruned layers.
std::unique_ptr<WeightQuantizer> make_cluster_quantizer(const WeightRecipe& recipe,
                                                        const WeightShape& shape, int values,
                                                        bool with_zero);

}  // namespace qat
