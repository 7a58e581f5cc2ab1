#pragma once
// The weight quantizers of a prepared model.

#include <ATen/core/Tensor.h>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "insert/compression.h"
#include "insert/plan.h"
#include "quantizers/convergence.h"
#include "quantizers/prune.h"
#include "quantizers/weight_quantizer.h"

namespace qat::insert {

struct ForwardRecord;  // insert/recompute.h

class WeightBank {
 public:
  WeightBank(const capture::Trace& trace, const Plan& plan, const Recipe& recipe);

  // moves: a training forward in which learned scales may move. frozen: they stand still for good.
  void begin_forward(bool moves, bool frozen);

  // Quantizes those of these entries that can go in one pass; quantize() finds them done.
  // A write through `.data` between here and there would go unnoticed until the next forward.
  void quantize_ahead(const std::vector<int>& entries, const ForwardRecord& record,
                      WeightMode mode);
  // The forward is over.
  void forget_ahead();
  // Learned scales are frozen for good.
  void stand_still();

  // Layers that read one and the same parameter with one recipe share an entry.
  int entry_of(int64_t node) const { return entry_of_node_.at(static_cast<size_t>(node)); }
  // The first weight sets the method's own parameters.
  WeightOutcome quantize(int entry, const at::Tensor& weight, WeightMode mode);
  // The weight with what is pruned at zero.
  at::Tensor masked(int entry, const at::Tensor& weight) const;
  // PreparedModel::step: masks follow their schedule (Note [When a mask moves]).
  void step(double fraction);
  // A bias, gain or offset of node `node`, 0 for channels that are pruned; `per_channel` may be
  // undefined. The node is a layer or the batch norm behind one.
  at::Tensor kept_channels(int64_t node, const at::Tensor& per_channel) const;
  // "conv1.weight.scale", ...
  NamedTensors state() const;
  const WeightRecipe& recipe(int entry) const {
    return entries_.at(static_cast<size_t>(entry)).recipe;
  }
  const WeightShape& shape(int entry) const {
    return entries_.at(static_cast<size_t>(entry)).shape;
  }

 private:
  std::string unused(const std::string& wanted, const std::string& other) const;
  // What quantize_ahead() made of a weight.
  struct Ahead {
    at::Tensor weight;
    const void* data;  // other memory may be put under a tensor
    int64_t version;
    WeightMode mode;
    QuantizedWeight quantized;
    bool holds(const at::Tensor& given, WeightMode asked) const;
  };
  struct Entry {
    std::string name;
    WeightRecipe recipe;
    WeightShape shape;
    SiteCompression compression;
    std::unique_ptr<PruneMask> mask;  // or none
    std::unique_ptr<WeightQuantizer> quantizer;
    at::Tensor initialized;                    // int64[1]; undefined where the method has no state
    std::shared_ptr<Convergence> convergence;  // nullptr: scales move until all are frozen
    bool direct = false;                       // reads the parameter `name`, not transposed
    std::optional<Ahead> ahead;
  };
  std::vector<Entry> entries_;
  std::vector<int> entry_of_node_;
  std::map<int64_t, int> pruned_channels_;  // layers and batch norms -> entry
};

}  // namespace qat::insert
