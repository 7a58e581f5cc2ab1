#pragma once
// The codes of a weight between the model and the file: plain, packed or by a codebook.

#include <string>
#include <vector>

#include "checkpoint/safetensors.h"
#include "graph/json.h"
#include "graph/model.h"

namespace qat::checkpoint {

// Adds the form that takes the least room: I8 for 8 bits, packed for fewer, with a codebook, or in
// groups.
void add_weight(safetensors::File& file, const std::string& name, const graph::Tensor& weight,
                numerics::IntFormat format);

// What names the entries beside a weight's own.
const std::vector<std::string>& weight_suffixes();

// The weight `name` of a file that has it. `place` opens every message.
graph::Tensor weight_from(const safetensors::File& file, const std::string& name,
                          const graph::WeightLayout& layout, const std::string& place);

}  // namespace qat::checkpoint
