#pragma once
// The codes of a weight between the model and the file: plain, packed or by a codebook.

#include <string>

#include "checkpoint/safetensors.h"
#include "graph/json.h"
#include "graph/model.h"

namespace qat::checkpoint {

// Adds the form that takes the least room: I8 for 8 bits, packed for fewer, or with a codebook.
void add_weight(safetensors::File& file, const std::string& name, const graph::Tensor& weight,
                numerics::IntFormat format);

// codebook: the entry beside the weight's, or nullptr. `place` opens every message.
graph::Tensor weight_from(const safetensors::Entry& entry, const safetensors::Entry* codebook,
                          const graph::WeightLayout& layout, const std::string& place);

}  // namespace qat::checkpoint
