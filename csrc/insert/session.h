#pragma once
// One planned forward: what becomes of each operator call.

#include <c10/util/SmallVector.h>

#include <exception>
#include <functional>
#include <map>
#include <unordered_map>
#include <vector>

#include "capture/catalog.h"
#include "capture/site_keys.h"
#include "capture/trace.h"
#include "insert/mode.h"
#include "insert/nodes.h"
#include "insert/plan.h"
#include "insert/quantizer_bank.h"
#include "insert/recompute.h"
#include "insert/weight_bank.h"

namespace qat::insert {

// What a session does, fixed when it starts.
struct SessionOptions {
  bool quantize = true;  // false: calibrate, operators run in float
  bool observe = false;  // ranges move
  bool learn = false;    // gradients reach learned scales and zero points
  bool track = false;    // statistics of the weights follow this forward
  bool training = false;
  bool batch_norm_frozen = false;
  bool recompute = false;  // Note [Recomputation]
  Progress progress;
};

// How weights are quantized in such a session.
WeightMode weight_mode(const SessionOptions& options);

class Session final : public Handler {
 public:
  Session(const capture::Trace& trace, const Plan& plan, QuantizerBank& bank, WeightBank& weights,
          std::shared_ptr<ForwardRecord> record, SessionOptions options);
  void start(const TensorList& inputs);

  void handle(const c10::OperatorHandle& op, torch::jit::Stack& stack) override;

  // Throws the error that ended the forward, as it was thrown here: on its way through the model's
  // own code (Python) an exception changes its type, but not its text. The model may have caught it
  // and ended for another reason: then this returns.
  void rethrow_failure(const std::exception& arrived) const;

  std::function<void(const std::string& site, const Codes& codes)> probe;
  // The float values of the same sites, where nothing is quantized.
  std::function<void(const std::string& site, const at::Tensor& real)> real_probe;
  // The result of every site, quantized or real, as the model gets it.
  std::function<void(const std::string& site, const at::Tensor& result)> tap;

  // The weights that were quantized, by their entry in the bank.
  std::function<void(int entry, const at::Tensor& weight, const QuantizedWeight& quantized)>
      weight_probe;

  // Throws qat::Error naming a planned layer that the forward did not pass though its outputs
  // depend on it, or in eval might.
  void require_complete(const TensorList& outputs) const;

 private:
  friend class Recomputation;
  // Where a tensor comes from.
  struct Origin {
    capture::Ancestor ancestor;
    bool depends_on_input = false;
    const std::string* parameter = nullptr;  // the first it derives from
  };
  // Memory of an ordinary tensor; the weak pointer keeps its address from being reused.
  struct Tracked {
    c10::weak_intrusive_ptr<c10::TensorImpl> tensor;
    Origin origin;
    at::Tensor codes;  // quantized on an edge, for the next reader
    int quantizer = kNoQuantizer;
    uint32_t version = 0;
    int64_t region = 0;
  };
  // One intercepted call.
  struct Call {
    const c10::OperatorHandle& op;
    torch::jit::Stack& stack;
    const capture::Operator& known;
    capture::Arguments arguments;
    c10::SmallVector<at::Tensor, 6> operands;  // every tensor argument, in schema order
    at::Tensor written;                        // by a planned in-place operator
    Origin origin;                             // of the results
    int64_t node = -1;
    const SitePlan* site = nullptr;
    const std::string& name() const;
    const capture::Trace* trace = nullptr;
  };
  using Results = std::vector<at::Tensor>;

  void dispatch(const c10::OperatorHandle& op, torch::jit::Stack& stack);
  Origin origin_of(const at::Tensor& tensor) const;
  Origin result_origin(Call& call);
  void remember(const at::Tensor& tensor, const Origin& origin);
  void calibrate(Call& call);
  void run_planned(Call& call);
  void run_island(Call& call);
  // Whether the call is planned and its start has come (Note [Sites that start late]).
  bool in_integers(const Call& call) const;
  bool observes_real(const Call& call) const;
  void observe_operands(const Call& call);
  void observe_results(const Call& call, const Results& results);
  void push_results(Call& call, Results results);
  void offer(const Call& call, const Results& results) const;  // to `tap`
  void require_known(const Call& call) const;
  void compare_outcome(const Call& call) const;
  void separate_written(Call& call);
  void write_in_place(Call& call, const at::Tensor& result);
  bool skip_write(Call& call);
  void keep_statistics(Call& call);

  // Each returns its results, or nothing when the call has to run as a float island after all.
  std::optional<Results> planned_at_site(Call& call);
  std::optional<Results> planned(Call& call);
  at::Tensor conv(Call& call);
  at::Tensor linear(Call& call);
  at::Tensor batch_norm(Call& call);
  at::Tensor activation(Call& call);
  at::Tensor prelu(Call& call);
  at::Tensor binary(Call& call);
  at::Tensor average(Call& call);
  at::Tensor average_positions(const Call& call, const at::Tensor& input);
  std::optional<Results> unary(Call& call);
  std::optional<Results> concat(Call& call);
  std::optional<Results> layout(Call& call);
  std::optional<Results> dropout(Call& call);

  // ---- operands
  int expected_quantizer(const Call& call, size_t operand) const;
  at::Tensor codes_operand(Call& call, size_t operand);
  at::Tensor quantize_edge(const at::Tensor& real, int quantizer);
  const WeightOutcome& quantized_weight(const Call& call, const at::Tensor& weight);
  // The operand as the beginning of a longer chain. with_layer: only a layer's bare result
  // continues a chain; anything else becomes a chain of its real value.
  Chain chain_of(const at::Tensor& operand, bool bare_layer_only) const;
  Chain normalized(Call& call, Chain chain, int64_t channels);

  // ---- results
  at::Tensor outcome(const Call& call, Chain chain, const Nominal& nominal);
  QuantizeTo quantize_to(int quantizer, const at::Tensor& values);
  void initialize(int quantizer, const at::Tensor& values);
  void observe_real(const at::Tensor& tensor, int quantizer);
  Codes target_like(const at::Tensor& codes) const;
  ReplayOutput codes_output(const at::Tensor& codes, const Codes& like, const at::Tensor& nominal);

  const capture::Trace& trace_;
  const Plan& plan_;
  QuantizerBank& bank_;
  WeightBank& weight_bank_;
  SessionOptions options_;
  capture::SiteKeys keys_;
  std::unordered_map<const c10::TensorImpl*, Tracked> tracked_;
  struct UsedWeight {
    at::Tensor weight;  // keeps its address from being reused
    WeightOutcome outcome;
    int64_t region = 0;
  };
  std::map<std::pair<const c10::TensorImpl*, int>, UsedWeight> weights_;
  std::vector<bool> visited_;  // sites, by node
  std::shared_ptr<ForwardRecord> record_;
  std::exception_ptr failure_;
  std::string failure_text_;
};

}  // namespace qat::insert
