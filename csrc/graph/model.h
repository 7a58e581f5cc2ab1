#pragma once
// An integer model in memory: the graph with its tensors and its provenance.

#include <cstddef>
#include <map>
#include <string>
#include <vector>

#include "graph/graph.h"

namespace qat::graph {

enum class TensorType { int8, uint8, float32, int64, boolean };

constexpr size_t element_size(TensorType type) {
  switch (type) {
    case TensorType::float32:
      return 4;
    case TensorType::int64:
      return 8;
    default:
      return 1;
  }
}

// A dense row-major tensor that owns its bytes.
struct Tensor {
  TensorType type = TensorType::float32;
  std::vector<int64_t> shape;
  std::vector<std::byte> bytes;

  int64_t numel() const {
    int64_t n = 1;
    for (const int64_t size : shape) n *= size;
    return n;
  }
  template <typename T>
  const T* data() const {
    return reinterpret_cast<const T*>(bytes.data());
  }
  template <typename T>
  T* data() {
    return reinterpret_cast<T*>(bytes.data());
  }
};

// Where the model came from; every entry is optional and none changes what the model computes.
using Provenance = std::map<std::string, std::string>;

struct Model {
  Graph graph;
  std::map<std::string, Tensor> tensors;
  Provenance provenance;
};

}  // namespace qat::graph
