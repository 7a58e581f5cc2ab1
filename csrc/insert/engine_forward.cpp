// One forward of a prepared model, and the same once more for a checkpoint.

#include <c10/core/impl/LocalDispatchKeySet.h>

#include <exception>

#include "error.h"
#include "insert/engine.h"
#include "insert/mode.h"
#include "insert/quantized_tensor.h"
#include "insert/recompute.h"

namespace qat {
namespace {

void require_cpu(const TensorList& inputs) {
  for (const at::Tensor& input : inputs) {
    if (input.is_cpu() || !input.defined()) continue;
    throw Error("forward: an input is on " + input.device().str() +
                "; a prepared model computes on the CPU so far: move model and inputs there.");
  }
}

void require_no_transform() {
  using c10::DispatchKey;
  if (!c10::impl::tls_is_dispatch_key_included(DispatchKey::FuncTorchDynamicLayerFrontMode)) return;
  throw Error(
      "forward: transforms of torch.func (grad, jvp, vmap and those made of them) do not reach "
      "into a prepared model; use backward() or torch.autograd.grad, and a batch on axis 0.");
}

}  // namespace

insert::SessionOptions Engine::options() const {
  insert::SessionOptions options;
  options.training = access.is_training();
  options.quantize = phase() == Phase::qat;
  const bool moves = options.quantize && options.training && !flag(ranges_frozen);
  options.observe = phase() == Phase::calibrate || moves;
  options.learn = moves;
  // Asked here: a checkpointed part runs without gradients at first.
  options.track = options.quantize && options.training && insert::gradients_wanted();
  options.batch_norm_frozen = flag(batch_norm_frozen);
  options.progress = progress();
  return options;
}

void Engine::begin_forward(const insert::SessionOptions& options) {
  const bool frozen = flag(ranges_frozen);
  bank.begin_forward({options.quantize, options.learn, options.progress, frozen});
  weights.begin_forward(options.learn, frozen);
}

void Engine::quantize_weights(const insert::SessionOptions& options,
                              const insert::ForwardRecord& record) {
  std::vector<int> entries;
  std::vector<bool> taken(plan.sites.size(), false);  // entries are fewer than sites
  for (size_t i = 0; i < plan.sites.size(); ++i) {
    const int entry = weights.entry_of(static_cast<int64_t>(i));
    if (entry < 0 || taken[static_cast<size_t>(entry)]) continue;
    if (!options.progress.started(plan.sites[i])) continue;
    taken[static_cast<size_t>(entry)] = true;
    entries.push_back(entry);
  }
  weights.quantize_ahead(entries, record, insert::weight_mode(options));
}

std::shared_ptr<insert::ForwardRecord> Engine::new_record() {
  const int64_t now = access.generation ? access.generation() : 0;
  NamedTensors listed;  // alive until the record holds them
  if (!tensors_ || !access.generation || now != generation_) {
    listed = access.tensors();
    tensors_ = std::make_shared<const insert::ModelTensors>(listed);
    generation_ = now;
  }
  auto record = std::make_shared<insert::ForwardRecord>(tensors_);
  record->engine = alive_;
  return record;
}

// The model's own forward, its outputs real.
TensorList Engine::run(insert::Session& session, const TensorList& inputs) {
  TensorList outputs;
  try {
    const insert::ModeGuard guard(&session);
    outputs = access.forward(inputs);
  } catch (const std::exception& arrived) {
    session.rethrow_failure(arrived);
    throw;
  }
  for (at::Tensor& output : outputs) output = insert::realize(output);
  return outputs;
}

// Note [Checkpointed forwards].
TensorList Engine::repeat(const insert::NotedForward& noted, const TensorList& inputs) {
  if (noted.floating) return access.forward(inputs);
  require_cpu(inputs);
  insert::SessionOptions options = noted.options;
  options.observe = false;
  options.recompute = true;
  const auto record = new_record();
  record->bank = noted.bank;
  insert::Session session(trace, plan, *noted.bank, weights, record, options);
  session.start(inputs);
  session.tap = tap;
  TensorList outputs = run(session, inputs);
  if (options.quantize) session.require_complete(outputs);
  return outputs;
}

TensorList Engine::forward(const TensorList& inputs) {
  if (insert::current_handler() != nullptr) {
    throw Error(
        "forward: a prepared model was called inside the forward of another model that is being "
        "prepared or run; prepare the outer model alone, or call the inner one outside of it.");
  }
  const bool floating = phase() == Phase::floating && !tap;
  if (!floating) require_no_transform();
  const insert::SessionOptions chosen = options();
  // What moves nothing may simply run again, or not.
  const bool moves = chosen.observe || chosen.training;
  if (const auto first = moves ? insert::forward_to_repeat(alive_) : nullptr) {
    insert::note_forward(first);
    return repeat(*first, inputs);
  }
  const auto note = std::make_shared<insert::NotedForward>(
      insert::NotedForward{alive_, floating, chosen, nullptr});
  const bool noted = moves && insert::note_forward(note);
  if (floating) return access.forward(inputs);
  require_cpu(inputs);
  const auto record = new_record();
  begin_forward(chosen);
  if (chosen.quantize) quantize_weights(chosen, *record);
  insert::Session session(trace, plan, bank, weights, record, chosen);
  session.start(inputs);
  session.probe = probe;
  session.tap = tap;
  if (chosen.quantize && chosen.training) keep_weights(session);
  TensorList outputs;
  try {
    outputs = run(session, inputs);
    weights.forget_ahead();
  } catch (...) {
    weights.forget_ahead();
    bank.discard_observations();
    throw;
  }
  if (noted || record->recomputed) record->bank = std::make_shared<insert::QuantizerBank>(bank);
  note->bank = record->bank;
  if (chosen.quantize) session.require_complete(outputs);
  return outputs;
}

}  // namespace qat
