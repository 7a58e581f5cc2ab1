#pragma once
// The graph as JSON text, docs/format.md. In the file, scales and packed weights stand apart from
// the text: scales in a tensor of their own, the true shape of a weight in its node.

#include <map>
#include <string>
#include <vector>

#include "graph/model.h"

namespace qat::graph {

struct EncodedGraph {
  std::string json;
  std::vector<float> scales;  // distinct ones, in order of first use
};

// The model must have passed validate(). Throws qat::Error for text that is not UTF-8.
EncodedGraph encode(const Model& model, const std::string& origin);

struct WeightLayout {
  numerics::IntFormat format;
  std::vector<int64_t> shape;
};

struct DecodedGraph {
  Graph graph;
  std::map<std::string, WeightLayout> weights;  // by the key of their tensor
};

// Checks the JSON form only (keys, types, spellings, scale indices); validate() does the rest.
// `place` opens every message.
DecodedGraph decode(const std::string& json, const std::vector<float>& scales,
                    const std::string& place);

}  // namespace qat::graph
