#include "insert/engine.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <c10/core/ScalarType.h>

#include <algorithm>

#include "error.h"
#include "insert/kept_state.h"
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

void require_same_path(const capture::Trace& first, const capture::Trace& other, size_t index) {
  const auto& a = first.nodes;
  const auto& b = other.nodes;
  size_t at = 0;
  while (at < a.size() && at < b.size() && a[at].key == b[at].key) ++at;
  if (at == a.size() && at == b.size()) return;
  const auto spell = [at](const auto& nodes) {
    if (at == nodes.size()) return std::string("the end");
    return "'" + nodes[at].name + "' (" + nodes[at].stem + ")";
  };
  throw Error("prepare: example " + std::to_string(index) +
              " takes another path through the model than example 0: it comes to " + spell(b) +
              " where that comes to " + spell(a) +
              ". A prepared model holds one path only: compute both ways and select with "
              "torch.where, or prepare a model for each.");
}

// A model in another floating type has layers, but none that can be planned.
void require_float32(const capture::Trace& trace) {
  for (const capture::TraceNode& node : trace.nodes) {
    const bool layer = node.kind == capture::Kind::conv || node.kind == capture::Kind::linear;
    if (!layer) continue;
    for (const int64_t id : node.inputs()) {
      const capture::TraceValue& value = trace.values[id];
      const bool other = c10::isFloatingType(value.dtype) && !value.is_float();
      if (value.source != capture::Source::parameter || !other) continue;
      throw Error("prepare: the parameter '" + value.parameter + "' is " +
                  std::string(c10::getDtypeNames(value.dtype).first) +
                  ", and a prepared model trains in float32; call model.float() first, and give "
                  "float32 examples.");
    }
  }
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
    require_same_path(trace, other, i);
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
    require_float32(trace);
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

insert::Progress Engine::progress() const {
  return insert::progress_at(recipe.schedule, number<double>(fraction));
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
  const insert::KeptState kept;
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
