#include "insert/recompute.h"

#include <ATen/core/grad_mode.h>

#include "error.h"
#include "insert/checkpointed.h"
#include "insert/engine.h"
#include "insert/session.h"

namespace qat::insert {

ModelTensors::ModelTensors(const NamedTensors& tensors) {
  all.reserve(tensors.size());  // so that names stay where they are
  for (const auto& [name, tensor] : tensors) {
    if (!tensor.defined()) continue;
    all.emplace_back(name, tensor.unsafeGetTensorImpl());
    names.emplace(all.back().second, &all.back().first);
    places.emplace(all.back().first, all.size() - 1);
  }
}

ForwardRecord::ForwardRecord(std::shared_ptr<const ModelTensors> given)
    : tensors(std::move(given)) {
  using Reference = c10::intrusive_ptr<c10::TensorImpl, c10::UndefinedTensorImpl>;
  alive.reserve(tensors->all.size());
  for (const auto& [name, impl] : tensors->all) {
    alive.emplace_back(Reference::reclaim_copy(impl));
  }
}

const std::string* ForwardRecord::name_of(const at::Tensor& tensor) const {
  const auto found = tensors->names.find(tensor.unsafeGetTensorImpl());
  return found == tensors->names.end() ? nullptr : found->second;
}

const c10::TensorImpl* ForwardRecord::find(const std::string& wanted) const {
  const auto found = tensors->places.find(wanted);
  return found == tensors->places.end() ? nullptr : tensors->all[found->second].second;
}

struct Recomputation::Start {
  const capture::Trace& trace;
  const Plan& plan;
  QuantizerBank& bank;  // while the forward runs
  WeightBank& weights;
  std::shared_ptr<ForwardRecord> record;
  SessionOptions options;
  capture::SiteKeys keys;
  std::vector<Session::Origin> origins;  // of the arguments
};

Recomputation::Recomputation() = default;
Recomputation::~Recomputation() = default;
Recomputation::Run::Run() = default;
Recomputation::Run::~Run() = default;

std::unique_ptr<Recomputation::Run> Recomputation::first_run() const {
  std::unique_ptr<Run> run(new Run());
  if (forwards_ != nullptr) run->around_ = CheckpointedRun::begin(forwards_, false);
  return run;
}

std::shared_ptr<Recomputation> Recomputation::begin(const TensorList& arguments) {
  if (current_handler() == nullptr) {
    auto begun = std::shared_ptr<Recomputation>(new Recomputation());
    begun->forwards_ = std::make_shared<NotedForwards>(NotedForwards{gradients_wanted(), {}});
    return begun;
  }
  const auto* session = dynamic_cast<Session*>(current_handler());
  if (session == nullptr) return nullptr;
  const Session& s = *session;
  s.record_->recomputed = true;
  SessionOptions options = s.options_;
  options.observe = false;
  options.recompute = true;
  auto begun = std::shared_ptr<Recomputation>(new Recomputation());
  begun->start_.reset(
      new Start{s.trace_, s.plan_, s.bank_, s.weight_bank_, s.record_, options, s.keys_, {}});
  for (const at::Tensor& argument : arguments) {
    begun->start_->origins.push_back(s.origin_of(argument));
  }
  return begun;
}

std::unique_ptr<Recomputation::Run> Recomputation::run_again(const TensorList& arguments) const {
  std::unique_ptr<Run> run(new Run());
  if (forwards_ != nullptr) {
    run->around_ = CheckpointedRun::begin(forwards_, true);
    return run;
  }
  const Start& start = *start_;
  run->engine_ = start.record->engine.lock();
  if (run->engine_ == nullptr) {
    throw Error(
        "backward: a checkpointed part of the forward has to run again, but the prepared model has "
        "been freed; keep it until backward is done.");
  }
  if (arguments.size() != start.origins.size()) {
    throw Error("backward: a checkpointed part of the forward runs again with " +
                std::to_string(arguments.size()) + " tensors, but ran with " +
                std::to_string(start.origins.size()));
  }
  run->bank_ = start.record->bank;
  QuantizerBank& bank = run->bank_ != nullptr ? *run->bank_ : start.bank;
  run->session_ = std::make_unique<Session>(start.trace, start.plan, bank, start.weights,
                                            start.record, start.options);
  run->session_->keys_ = start.keys;
  for (size_t i = 0; i < arguments.size(); ++i) {
    run->session_->remember(arguments[i], start.origins[i]);
  }
  run->mode_ = std::make_unique<ModeGuard>(run->session_.get());
  return run;
}

}  // namespace qat::insert
