#pragma once
// The integer model in the hands of a torch program.

#include <ATen/core/Tensor.h>

#include <memory>
#include <string>
#include <vector>

#include "graph/model.h"
#include "insert/prepared_model.h"
#include "runtime/executor.h"

namespace qat {

enum class ExecutorKind { fast, reference };

class IntegerModel {
 public:
  explicit IntegerModel(graph::Model model);
  static IntegerModel load(const std::string& path);
  void save(const std::string& path) const;

  TensorList forward(const TensorList& inputs, ExecutorKind kind = ExecutorKind::fast) const;
  at::Tensor forward(const at::Tensor& input) const { return forward(TensorList{input}).at(0); }

  // Share of the multiply-accumulates of conv and linear layers that the latest forward executed
  // in integers, counted by the kernels.
  double integer_fraction() const;
  graph::Model& model() { return *model_; }
  const graph::Model& model() const { return *model_; }

 private:
  std::shared_ptr<graph::Model> model_;
  mutable std::shared_ptr<runtime::Executor> fast_, reference_;
  mutable runtime::MacCount macs_;
};

// Folds, quantizes the weights and computes the requantization constants. The model must be in
// eval() and every quantizer must have seen data; throws qat::Error naming the site otherwise.
IntegerModel convert(PreparedModel& prepared);

struct VerifyReport {
  int64_t logits = 0;                // compared
  int64_t differing = 0;             // in any bit, in any of the executors
  int64_t differing_parameters = 0;  // tensors of the file that lowering `prepared` again changes
  std::string first_difference;      // the first site whose codes differ, or the first tensor
  bool equal() const { return differing == 0 && differing_parameters == 0; }
};

// Runs the prepared model in eval(), the reference and the fast executor and a saved and reloaded
// copy on every batch, and compares all of them bit for bit.
VerifyReport verify(PreparedModel& prepared, const IntegerModel& integer,
                    const std::vector<TensorList>& batches);

}  // namespace qat
