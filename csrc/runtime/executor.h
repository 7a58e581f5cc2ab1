#pragma once
// Running an integer model without ATen: the interface of the reference and the fast executor.

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "graph/model.h"

namespace qat::runtime {

using graph::Tensor;

// Evaluates an `aten` node. libqat_runtime has none; libqat_ext supplies one made of ATen.
using AtenEvaluator =
    std::function<std::vector<Tensor>(const graph::AtenAttributes& attributes,
                                      const std::vector<const Tensor*>& inputs, int64_t batch)>;

struct Options {
  int threads = 0;  // 0: as many as OpenMP gives the thread that calls run
  AtenEvaluator aten;
  // Exactly so many threads, also for little work and on fewer processors: for tests.
  bool exact_threads = false;
};

// Multiply-accumulates of the conv and linear layers of one call, counted by the kernels that ran.
struct MacCount {
  int64_t integer = 0;   // conv and linear nodes
  int64_t floating = 0;  // convolutions and linear layers inside aten nodes
};

class Executor {
 public:
  virtual ~Executor() = default;
  // One Tensor per graph input: int64/boolean inputs as such, others float32. Shapes must fit the
  // graph's; the batch is free. Throws qat::Error naming the input, the expected and the given
  // shape. Safe to call from several threads at once.
  virtual std::vector<Tensor> run(const std::vector<Tensor>& inputs) = 0;
  // Every value that the call computed, by index of Graph::values (empty tensors where a fused
  // executor never made it). For verify's search of the first differing site and for reports.
  virtual std::vector<Tensor> run_all(const std::vector<Tensor>& inputs) = 0;
  virtual MacCount macs() const = 0;  // of the latest run
};

// Plain loops, one node at a time, straight from numerics/: what the other is checked against.
std::unique_ptr<Executor> make_reference_executor(const graph::Model& model, Options options = {});

// Channels-last, vectorised, fused chains. Equal to the reference in every bit.
std::unique_ptr<Executor> make_fast_executor(const graph::Model& model, Options options = {});

}  // namespace qat::runtime
