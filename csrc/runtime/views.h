#pragma once
// Tensors in memory that somebody else owns, and operators bound to them.

#include <functional>
#include <vector>

#include "runtime/executor.h"
#include "runtime/layout.h"
#include "runtime/tensors.h"
#include "runtime/workspace.h"

namespace qat::runtime {

// Type and shape are fixed when an operator is bound; `data` may change between calls (inputs of
// the graph) and is read when the operator runs.
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

// A value of the graph at a batch size, without memory; fails on a size that no tensor can have.
View view_of(const graph::Value& value, int64_t batch, Layout layout);

// Fails unless an operator makes what the graph says.
void check_made(const graph::Node& node, const Sizes& made, const View& output);
void check_made(const graph::Node& node, TensorType type, const Sizes& made, const View& output);

// The views of one node.
struct Binding {
  std::vector<const View*> inputs;
  const View* output = nullptr;
  int64_t batch = 1;
  Workspace* workspace = nullptr;  // for operators of the fast executor
};

// One node on fixed views: everything that depends on sizes alone has been computed and every
// buffer that it needs exists, so that a second run with as many threads allocates nothing.
using Bound = std::function<void(int threads, MacCount& macs)>;
using Binder = std::function<Bound(const Binding& at)>;

}  // namespace qat::runtime
