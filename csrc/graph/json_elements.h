#pragma once
// The parts of a graph that JSON has no type for: sizes, formats, aten arguments, float32 numbers.

#include "graph/graph.h"
#include "graph/json_reader.h"

namespace qat::graph {

Affine size_from(const nlohmann::json& value, const std::string& place);
Shape shape_from(const nlohmann::json& value, const std::string& place);
numerics::IntFormat format_from(const nlohmann::json& value, const std::string& place);
float float32_from(const nlohmann::json& value, const std::string& place);
int32_t int32_from(const nlohmann::json& value, const std::string& place);
AtenList arguments_from(const nlohmann::json& value, const std::string& place);

}  // namespace qat::graph
