#include "insert/engine.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <exception>

#include "error.h"
#include "insert/mode.h"
#include "insert/quantized_tensor.h"
#include "insert/recompute.h"
#include "insert/site_name.h"

namespace qat {
namespace {

// The model's buffers, mode and the random state as they were, whatever happens in between.
class StateKeeper {
 public:
  explicit StateKeeper(ModelAccess& access)
      : access_(access),
        training_(access.is_training()),
        generator_(at::detail::getDefaultCPUGenerator()),
        random_(generator_.get_state()) {
    for (const auto& [name, tensor] : access.tensors()) {
      if (!tensor.defined() || tensor.requires_grad()) continue;
      saved_.emplace_back(tensor, tensor.detach().clone());
    }
  }
  ~StateKeeper() {
    at::NoGradGuard no_grad;
    for (auto& [tensor, copy] : saved_) tensor.copy_(copy);
    access_.train(training_);
    generator_.set_state(random_);
  }

 private:
  ModelAccess& access_;
  bool training_;
  at::Generator generator_;
  at::Tensor random_;
  std::vector<std::pair<at::Tensor, at::Tensor>> saved_;
};

void require_examples(const std::vector<TensorList>& examples) {
  if (examples.empty()) throw Error("prepare: no example inputs were given; give at least one.");
  for (const TensorList& example : examples) {
    if (example.empty())
      throw Error("prepare: an example holds no tensor; give at least one input.");
  }
}

void require_cpu(const TensorList& inputs) {
  for (const at::Tensor& input : inputs) {
    if (input.is_cpu() || !input.defined()) continue;
    throw Error("forward: an input is on " + input.device().str() +
                "; a prepared model computes on the CPU so far: move model and inputs there.");
  }
}

// A rule for a misspelt site would be a rule without effect.
void warn_of_idle_rules(const capture::Trace& trace, const Recipe& recipe) {
  const insert::LayerEnds ends(trace);
  for (size_t i = 0; i < recipe.rules.size(); ++i) {
    const std::string& sites = recipe.rules[i].sites;
    const bool used = std::any_of(trace.nodes.begin(), trace.nodes.end(), [&](const auto& node) {
      return ends.name_of(node).matches(sites);
    });
    if (used) continue;
    TORCH_WARN("qat_ext: recipe.rules[", i, "].sites: '", sites,
               "' matches no site of the model, so the rule does nothing; plan() prints the sites");
  }
}

bool has_integer_site(const insert::Plan& plan) {
  for (const insert::SitePlan& site : plan.sites) {
    if (site.integer) return true;
  }
  return false;
}

capture::Trace capture_model(ModelAccess& access, const std::vector<TensorList>& examples) {
  require_examples(examples);
  StateKeeper keeper(access);
  access.train(true);
  {
    // The training forward must run at all; what it adds to the eval graph will run in float.
    at::NoGradGuard no_grad;
    const int64_t batch = std::max<int64_t>(2, capture::batch_of(examples[0]));
    access.forward(capture::with_batch(examples[0], batch));
  }
  access.train(false);
  capture::Trace trace = capture::record_eval(access, examples[0]);
  for (size_t i = 1; i < examples.size(); ++i) {
    const capture::Trace other = capture::record_eval(access, examples[i]);
    if (other.nodes.size() != trace.nodes.size()) {
      throw Error("prepare: example " + std::to_string(i) +
                  " takes another path through the model than example 0; the integer model can "
                  "hold one path only.");
    }
  }
  return trace;
}

}  // namespace

Engine::Engine(ModelAccess model, capture::Trace recorded, const Recipe& chosen)
    : access(std::move(model)),
      recipe(chosen),
      trace(std::move(recorded)),
      plan(insert::make_plan(trace, recipe)),
      bank(plan.quantizers, recipe.freeze),
      weights(trace, plan, recipe),
      phase_tensor(at::full({1}, static_cast<int64_t>(Phase::qat), at::kLong)),
      batch_norm_frozen(at::zeros({1}, at::kLong)),
      ranges_frozen(at::zeros({1}, at::kLong)),
      fraction(at::zeros({1}, at::kDouble)) {
  warn_of_idle_rules(trace, recipe);
  if (!has_integer_site(plan)) {
    throw Error(
        "prepare: the plan holds no site to quantize. The forward called no convolution or "
        "linear layer that qat_ext can see: was the model compiled or scripted, or does the "
        "recipe keep every site in float?");
  }
}

Phase Engine::phase() const { return static_cast<Phase>(number<int64_t>(phase_tensor)); }

void Engine::set_phase(Phase phase) {
  bank.commit();
  phase_tensor.fill_(static_cast<int64_t>(phase));
}

insert::SessionOptions Engine::options() const {
  insert::SessionOptions options;
  options.training = access.is_training();
  options.quantize = phase() == Phase::qat;
  const bool moves = options.quantize && options.training && !flag(ranges_frozen);
  options.observe = phase() == Phase::calibrate || moves;
  options.learn = moves;
  // Asked here: a checkpointed part runs without gradients at first.
  options.track = options.quantize && options.training && at::GradMode::is_enabled();
  options.batch_norm_frozen = flag(batch_norm_frozen);
  options.progress = progress();
  return options;
}

insert::Progress Engine::progress() const {
  return insert::progress_at(recipe.schedule, number<double>(fraction));
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

TensorList Engine::run(insert::Session& session, const TensorList& inputs) {
  insert::ModeGuard guard(&session);
  return access.forward(inputs);
}

TensorList Engine::forward(const TensorList& inputs) {
  if (insert::current_handler() != nullptr) {
    throw Error(
        "forward: a prepared model was called inside the forward of another model that is being "
        "prepared or run; prepare the outer model alone, or call the inner one outside of it.");
  }
  if (phase() == Phase::floating && !tap) return access.forward(inputs);
  require_cpu(inputs);
  const insert::SessionOptions chosen = options();
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
    if (session.failure()) std::rethrow_exception(session.failure());
    throw;
  }
  if (record->recomputed) record->bank = std::make_shared<insert::QuantizerBank>(bank);
  for (at::Tensor& output : outputs) output = insert::realize(output);
  if (chosen.quantize) session.require_complete(outputs);
  return outputs;
}

void Engine::step(double to) {
  if (!(to >= 0.0 && to <= 1.0)) {
    throw Error("step: fraction: expected a number from 0 to 1, got " + std::to_string(to));
  }
  fraction.clamp_min_(to);
  weights.step(number<double>(fraction));
  if (to >= recipe.freeze.batch_norm) batch_norm_frozen.fill_(1);
  if (to >= recipe.freeze.ranges) freeze_ranges();
}

void Engine::freeze_ranges() {
  bank.commit();
  ranges_frozen.fill_(1);
  bank.stand_still();
  weights.stand_still();
}

NamedTensors Engine::state() {
  bank.commit();
  NamedTensors all = bank.state();
  for (auto& entry : weights.state()) all.push_back(std::move(entry));
  all.emplace_back("schedule.phase", phase_tensor);
  all.emplace_back("schedule.fraction", fraction);
  all.emplace_back("schedule.batch_norm_frozen", batch_norm_frozen);
  all.emplace_back("schedule.ranges_frozen", ranges_frozen);
  return all;
}

PreparedModel::PreparedModel(std::unique_ptr<Engine> engine) : engine_(std::move(engine)) {}
PreparedModel::~PreparedModel() = default;

std::shared_ptr<PreparedModel> PreparedModel::create(ModelAccess access,
                                                     const std::vector<TensorList>& examples,
                                                     const Recipe& recipe) {
  capture::Trace trace = capture_model(access, examples);
  auto engine = std::make_unique<Engine>(std::move(access), std::move(trace), recipe);
  return std::shared_ptr<PreparedModel>(new PreparedModel(std::move(engine)));
}

TensorList PreparedModel::forward(const TensorList& inputs) { return engine_->forward(inputs); }
Phase PreparedModel::phase() const { return engine_->phase(); }
void PreparedModel::set_phase(Phase phase) { engine_->set_phase(phase); }
void PreparedModel::freeze_batch_norm(bool frozen) { engine_->batch_norm_frozen.fill_(frozen); }
void PreparedModel::freeze_ranges(bool frozen) {
  if (frozen) return engine_->freeze_ranges();
  engine_->bank.commit();
  engine_->ranges_frozen.fill_(0);
}
bool PreparedModel::batch_norm_frozen() const { return engine_->flag(engine_->batch_norm_frozen); }
bool PreparedModel::fully_quantized() const {
  const insert::Progress progress = engine_->progress();
  return insert::unfinished(engine_->trace, engine_->plan, engine_->recipe.schedule,
                            progress.fraction)
      .empty();
}
at::Tensor PreparedModel::oscillation_loss() const { return engine_->oscillation_loss(); }
bool PreparedModel::ranges_frozen() const { return engine_->flag(engine_->ranges_frozen); }
void PreparedModel::step(double fraction) { engine_->step(fraction); }
NamedTensors PreparedModel::state() const { return engine_->state(); }
NamedTensors PreparedModel::parameters() const {
  NamedTensors learned;
  for (auto& [name, tensor] : engine_->state()) {
    if (tensor.requires_grad()) learned.emplace_back(name, tensor);
  }
  return learned;
}
std::string PreparedModel::plan() const { return insert::describe(engine_->trace, engine_->plan); }
const Recipe& PreparedModel::recipe() const { return engine_->recipe; }
ModelAccess& PreparedModel::access() { return engine_->access; }

}  // namespace qat
