#pragma once
// The activation quantizers of a prepared model: their ranges and what follows from them.

#include <ATen/core/Tensor.h>

#include <vector>

#include "insert/nodes.h"
#include "insert/plan.h"

namespace qat::insert {

// Note [Delayed ranges]
// Parameters are fixed when a forward starts and its observations take effect when the next one
// starts. So one pass can quantize and observe, a forward that is recomputed in backward meets the
// codes it met before, and tensors that share a quantizer are observed together. A quantizer that
// has seen nothing takes its first range from the tensor at hand.
class QuantizerBank {
 public:
  explicit QuantizerBank(const std::vector<QuantizerPlan>& plans);

  // Takes in what the previous forward observed and fixes the parameters.
  void begin_forward();
  // Takes in the observations now (the end of calibration, a saved checkpoint).
  void commit();
  // Drops observations that did not come from a completed forward.
  void discard_observations();

  bool initialized(int index) const { return states_[index].ready; }
  // Sets the first range of a quantizer that has seen nothing.
  void initialize(int index, const at::Tensor& range);
  void observe(int index, const at::Tensor& range);  // float32[2]
  const Codes& target(int index) const { return states_[index].target; }
  const QuantizerPlan& plan(int index) const { return states_[index].plan; }
  NamedTensors state() const;
  size_t size() const { return states_.size(); }

 private:
  struct State {
    QuantizerPlan plan;
    at::Tensor min, max, count;  // float32[1], float32[1], int64[1]
    bool ready = false;
    bool observed = false;
    float seen_min = 0.0f, seen_max = 0.0f;
    Codes target;
  };
  void fix_parameters(State& state);

  std::vector<State> states_;
};

}  // namespace qat::insert
