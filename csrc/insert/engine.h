#pragma once
// What a prepared model holds besides the user's model.

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "capture/trace.h"
#include "insert/checkpointed.h"
#include "insert/plan.h"
#include "insert/prepared_model.h"
#include "insert/quantizer_bank.h"
#include "insert/session.h"
#include "quantizers/number.h"

namespace qat {

class Engine {
 public:
  Engine(ModelAccess access, capture::Trace trace, const Recipe& recipe);

  TensorList forward(const TensorList& inputs);
  void step(double fraction);
  void freeze_ranges();
  NamedTensors state();
  // How far the recipe's schedule has come.
  insert::Progress progress() const;
  at::Tensor oscillation_loss() const;
  // Reads the schedule's flags back from their tensors (a checkpoint may have been loaded).
  Phase phase() const;
  void set_phase(Phase phase);
  bool flag(const at::Tensor& tensor) const { return number<int64_t>(tensor) != 0; }

  // Called with the codes of every planned value as a forward makes them, while set.
  std::function<void(const std::string& site, const insert::Codes& codes)> probe;
  // Called with the result of every site, while set; also in Phase::floating.
  std::function<void(const std::string& site, const at::Tensor& result)> tap;
  // Compares each quantized site with the float model on `inputs`, in eval.
  std::vector<SiteSignal> measure(const TensorList& inputs);

  ModelAccess access;
  const Recipe recipe;
  const capture::Trace trace;
  const insert::Plan plan;
  insert::QuantizerBank bank;
  insert::WeightBank weights;
  at::Tensor phase_tensor, batch_norm_frozen, ranges_frozen;  // int64[1]
  at::Tensor fraction;                                        // float64[1]

 private:
  TensorList run(insert::Session& session, const TensorList& inputs);
  TensorList repeat(const insert::NotedForward& noted, const TensorList& inputs);
  std::shared_ptr<insert::ForwardRecord> new_record();
  insert::SessionOptions options() const;
  void begin_forward(const insert::SessionOptions& options);
  void quantize_weights(const insert::SessionOptions& options, const insert::ForwardRecord& record);
  void keep_weights(insert::Session& session);

  std::shared_ptr<const insert::ModelTensors> tensors_;  // as of generation_
  int64_t generation_ = 0;

  // The weights of the latest training forward, by their entry in the bank; for damping alone.
  struct UsedWeight {
    at::Tensor weight;
    QuantizedWeight quantized;
    numerics::IntFormat format;
  };
  std::optional<std::map<int, UsedWeight>> used_weights_;
  std::shared_ptr<const void> alive_ = std::make_shared<int>(0);
};

}  // namespace qat
