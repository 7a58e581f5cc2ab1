#pragma once
// The rules of docs/format.md that hold for a model in memory and in a file alike.

#include <string>

#include "graph/model.h"

namespace qat::graph {

// The tensor in which the file keeps the scales; a model in memory may not use the name.
constexpr const char* kActivationScales = "activation_scales";

// Throws qat::Error "<origin>: <place>: <rule>, got <value>" for the first rule that does not
// hold: names, shapes, formats and parameters of values and tensors; single assignment in
// execution order; per operator the arity, types, shapes and lengths; accumulators within int32;
// every tensor used. `origin` is the path, or what else the user knows the model by.
void validate(const Model& model, const std::string& origin);

// The part of the above that looks at tensors alone: name, rank, byte count.
void validate_tensor(const std::string& name, const Tensor& tensor, const std::string& origin);

// 1 to 256 characters out of [A-Za-z0-9_./#:-].
bool is_tensor_name(const std::string& name);

}  // namespace qat::graph
