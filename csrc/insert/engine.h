#pragma once
// What a prepared model holds besides the user's model.

#include <functional>
#include <memory>
#include <vector>

#include "capture/trace.h"
#include "insert/plan.h"
#include "insert/prepared_model.h"
#include "insert/quantizer_bank.h"
#include "insert/session.h"

namespace qat {

class Engine {
 public:
  Engine(ModelAccess access, capture::Trace trace, const Recipe& recipe);

  TensorList forward(const TensorList& inputs);
  void step(double fraction);
  NamedTensors state();
  // Reads the schedule's flags back from their tensors (a checkpoint may have been loaded).
  Phase phase() const;
  void set_phase(Phase phase);
  bool flag(const at::Tensor& tensor) const { return tensor.item<int64_t>() != 0; }

  // Called with the codes of every planned value as a forward makes them, while set.
  std::function<void(const std::string& site, const insert::Codes& codes)> probe;
  // Compares each quantized site with the float model on `inputs`, in eval.
  std::vector<SiteSignal> measure(const TensorList& inputs);

  ModelAccess access;
  const Recipe recipe;
  const capture::Trace trace;
  const insert::Plan plan;
  insert::QuantizerBank bank;
  at::Tensor phase_tensor, batch_norm_frozen, ranges_frozen;  // int64[1]

 private:
  TensorList run(insert::Session& session, const TensorList& inputs);
  insert::SessionOptions options() const;

  std::shared_ptr<const void> alive_ = std::make_shared<int>(0);
};

}  // namespace qat
