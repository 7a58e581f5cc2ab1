#pragma once
// The activation quantizers of a prepared model: their ranges and what follows from them.

#include <ATen/core/Tensor.h>

#include <memory>
#include <optional>
#include <vector>

#include "insert/nodes.h"
#include "insert/plan.h"
#include "quantizers/convergence.h"
#include "quantizers/learned_range.h"
#include "quantizers/observer.h"

namespace qat::insert {

// What the bank has to know of a forward.
struct BankMode {
  bool quantize = true;  // codes are made, so learned ranges start from what has been observed
  bool moves = false;    // a training forward in which ranges and scales may move
  Progress progress;
  bool frozen = false;  // ranges and scales stand still for good
};

// Note [Delayed ranges]
// Parameters are fixed when a forward starts and its observations take effect when the next one
// starts. So one pass can quantize and observe, a forward that is recomputed in backward meets the
// codes it met before, and tensors that share a quantizer are observed together. A quantizer that
// has seen nothing takes its first range from the tensor at hand.
class QuantizerBank {
 public:
  QuantizerBank(const std::vector<QuantizerPlan>& plans, const FreezeSchedule& freeze);

  // Takes in what the previous forward observed and fixes the parameters.
  void begin_forward(const BankMode& mode);
  // Takes in the observations now (the end of calibration, a saved checkpoint).
  void commit();
  // Drops observations that did not come from a completed forward.
  void discard_observations();

  bool initialized(int index) const { return states_[index].ready; }
  // Sets the first range of a quantizer that has seen nothing. range: float32[2], of `values`.
  void initialize(int index, const at::Tensor& values, const at::Tensor& range);
  // Whether calibration has to show whole tensors.
  bool needs_values(int index) const { return states_[index].observer->needs_values(); }
  // Whether the range goes on following the data while the model trains on codes.
  bool follows_training(int index) const;
  // Whether anything that is observed has an effect: not where the range has converged.
  bool follows_data(int index) const { return !states_[index].frozen; }
  void observe(int index, const at::Tensor& range);  // float32[2]
  void observe_values(int index, const at::Tensor& values);
  const Codes& target(int index) const { return states_[index].target; }
  // elements: of one sample's tensor.
  RangeEdges edges(int index, int64_t elements) const;
  const QuantizerPlan& plan(int index) const { return states_[index].plan; }
  NamedTensors state() const;
  // Learned ranges are frozen for good.
  void stand_still();
  // Takes in the observers of another bank by their state(). Throws before anything changes.
  void merge(const NamedTensors& state);
  size_t size() const { return states_.size(); }

 private:
  struct State {
    QuantizerPlan plan;
    std::shared_ptr<Observer> observer;
    std::shared_ptr<LearnedRange> learned;     // nullptr: the range is the observer's
    at::Tensor calibrated;                     // int64[1], where there is a learned range
    std::shared_ptr<Convergence> convergence;  // nullptr: ranges move until all are frozen
    ActivationRecipe now;                      // the recipe as the stage of the schedule leaves it
    bool ready = false;
    bool frozen = false;        // has converged; fixed for a forward
    std::optional<Range> seen;  // of the forward that runs
    Codes target;
    bool starts_learning() const { return learned && calibrated.item<int64_t>() == 0; }
  };
  void start_learning(State& state);
  static void watch(State& state);
  void fix_parameters(State& state);
  void set_target(State& state, numerics::QuantParams params);

  std::vector<State> states_;
};

}  // namespace qat::insert
