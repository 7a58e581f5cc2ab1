#pragma once
// Running a part of a planned forward again in backward.

#include <ATen/core/Tensor.h>

#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "capture/site_keys.h"
#include "insert/mode.h"
#include "insert/prepared_model.h"
#include "insert/quantizer_bank.h"

namespace qat::insert {

class Session;
struct CheckpointedRun;  // insert/checkpointed.h
struct NotedForwards;

// Note [Recomputation]
// Activation checkpointing drops what a part of the forward saved and runs that part again in
// backward, outside of the mode. A Recomputation marks where such a part begins: the counters of
// the site keys and where its arguments come from. Run again, the part meets a session that
// continues there, with the quantization parameters of its own forward (later forwards may have
// moved the ranges); it observes nothing and writes neither running statistics nor other buffers.
//
// Checkpointing counts the tensors saved by both runs. So nothing that an earlier part of the
// forward happened to evaluate (a tensor made real, an edge's codes) may be reused inside, or the
// second run would save fewer or more: caches are marked with the region they were filled in.

// The names of a model's parameters and buffers. It keeps none of them alive: whoever replaces one
// must be able to free it.
struct ModelTensors {
  std::vector<std::pair<std::string, c10::TensorImpl*>> all;             // those that are defined
  std::unordered_map<const c10::TensorImpl*, const std::string*> names;  // the first of each
  std::unordered_map<std::string_view, size_t> places;                   // in `all`
  explicit ModelTensors(const NamedTensors& tensors);
};

// What a forward leaves for its recomputations.
struct ForwardRecord {
  std::shared_ptr<const ModelTensors> tensors;
  std::vector<at::Tensor> alive;        // these, in their order, as long as somebody may ask
  std::shared_ptr<QuantizerBank> bank;  // as the forward used it; nullptr while it runs
  bool recomputed = false;              // some part of it asked for that
  std::weak_ptr<const void> engine;     // expired: trace and plan are gone

  // given: of tensors that are alive.
  explicit ForwardRecord(std::shared_ptr<const ModelTensors> given);
  // nullptr: not a parameter or buffer of the model.
  const std::string* name_of(const at::Tensor& tensor) const;
  const c10::TensorImpl* find(const std::string& name) const;
};

class Recomputation {
 public:
  // Where the planned forward of this thread stands, about to call a part with these arguments.
  // Outside of any, the part may hold whole forwards (Note [Checkpointed forwards]). nullptr while
  // a model is being captured.
  static std::shared_ptr<Recomputation> begin(const TensorList& arguments);
  ~Recomputation();

  // The part runs: the first time inside its forward, then again with such arguments as before.
  class Run {
   public:
    ~Run();

   private:
    friend class Recomputation;
    Run();
    RegionGuard region_;
    std::shared_ptr<CheckpointedRun> around_;
    std::shared_ptr<const void> engine_;
    std::shared_ptr<QuantizerBank> bank_;
    std::unique_ptr<Session> session_;
    std::unique_ptr<ModeGuard> mode_;
  };
  std::unique_ptr<Run> first_run() const;
  std::unique_ptr<Run> run_again(const TensorList& arguments) const;

 private:
  Recomputation();
  struct Start;
  std::unique_ptr<Start> start_;             // inside of a forward
  std::shared_ptr<NotedForwards> forwards_;  // else
};

}  // namespace qat::insert
