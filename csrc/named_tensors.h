#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <utility>
#include <vector>

namespace qat {

// State by name, in the order in which it was registered.
using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;

}  // namespace qat
