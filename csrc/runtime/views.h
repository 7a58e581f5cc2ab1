#pragma once
// Tensors in memory that somebody else owns, and operators bound to them.

#include <functional>
#include <vector>

#include "runtime/operators.h"

namespace qat::runtime {

// Type and shape are fixed when a context is made; `data` may change between calls (inputs of the
// graph) and is read when an operator runs.
struct View {
  TensorType type = TensorType::float32;
  Sizes shape;
  int64_t numel = 0;
  std::byte* data = nullptr;

  size_t bytes() const { return static_cast<size_t>(numel) * graph::element_size(type); }
  template <typename T>
  T* as() const {
    return reinterpret_cast<T*>(data);
  }
};

// Fails unless an operator makes the shape that the graph says.
void check_made(const graph::Node& node, const Sizes& made, const View& output);

// One node on fixed views: everything that depends on sizes alone has been computed.
using Bound = std::function<void(int threads, MacCount& macs)>;
using Binder = std::function<Bound(const std::vector<const View*>& inputs, const View& output)>;

}  // namespace qat::runtime
