#include "train/run.h"

#include <ATen/CPUGeneratorImpl.h>
#include <c10/util/Exception.h>

#include <cstdio>
#include <filesystem>
#include <utility>

#include "train/calibration.h"
#include "train/distill.h"
#include "train/finish.h"
#include "train/float_file.h"
#include "train/job_changes.h"
#include "train/quantization_step.h"
#include "train/stop_signal.h"
#include "train/training_state.h"
#include "train/yaml_tree.h"

namespace qat::train {
namespace {

NamedTensors load_weights(const Session& session) {
  const Job& job = session.job;
  return load_float_file({job.weights, "weights", job.weights_place}, *session.network,
                         session.data);
}

// What a run begins with, checked before any of its files is written.
struct Start {
  explicit Start(const Job& job) : session(open_session(job)) {
    if (job.distill && job.qat.epochs > 0) check_distillation(session);
  }

  // A recipe without a site to quantize, say, would be refused after the whole float phase.
  void check_new() {
    if (!session.job.weights.empty()) weights = load_weights(session);
    prepare_session(session);
    warned = true;
  }

  Session session;
  NamedTensors weights;  // of job.weights, until the float phase is over
  bool warned = false;   // of what the recipe's plan says
};

// Else the result would be that of neither the job as it was nor the job as it is.
void check_unchanged(const TrainingState& state, const Session& session, const RunFolder& folder) {
  if (state.job.empty()) return;
  Words changes = changes_between(parse_job(state.job, folder.latest() + " (job)"), session.job);
  if (state.data != session.data.digest) {
    changes.push_back("the data were " + state.data + ", are " + session.data.digest);
  }
  if (changes.empty()) return;
  throw JobError(folder.job() + ": error: the run began with another job: " + join(changes, "; ") +
                 "; put back what it began with, or train anew in another folder with 'qat train " +
                 folder.job() + " run=FOLDER'");
}

// Of what was said already.
class Silence : public c10::WarningHandler {
 public:
  void process(const c10::Warning&) override {}
};

class Runner {
 public:
  Runner(const Runner&) = delete;
  Runner& operator=(const Runner&) = delete;
  Runner(Start start, const RunFolder& folder, const TrainingState* resumed)
      : folder_(folder),
        start_(std::move(start)),
        state_(resumed ? *resumed : TrainingState{}),
        log_(folder.path, state_.log) {
    log_.console.line((resumed ? "resuming " : "run folder ") + folder_.path);
    if (!resumed) return;
    copy_values(state_.model, tensors_of(*session_.network), folder_.latest());
    // Last of all: initialising the network drew random numbers too.
    at::Generator generator = at::detail::getDefaultCPUGenerator();
    generator.set_state(state_.generator);
  }

  void run_float() {
    if (state_.stage != Stage::floating) return;
    session_.job.weights.empty() ? train_float() : load_float();
  }

  Summary run() {
    run_float();
    prepare_quantized();
    if (state_.stage == Stage::quantize) quantize();
    if (state_.stage == Stage::qat) train_qat();
    return finish();
  }

 private:
  LoopParts parts(const std::string& phase, const PhaseSpec& spec, Optimizer& optimizer) {
    return {
        .phase = phase,
        .spec = spec,
        .first_step = 0,
        .forward = [this](const at::Tensor& x) { return session_.network->forward(x); },
        .objective = {},
        .set_training = [this](bool on) { session_.network->train(on); },
        .optimizer = optimizer,
        .train = *session_.train,
        .validation = *session_.validation,
        .classes = session_.data.classes,
        .log = log_,
        .schedule = {},
        .counts = {},
        .keep_best = {},
        .checkpoint =
            [this, &optimizer](const LoopPosition& position) {
              state_.position = position;
              checkpoint(&optimizer);
            },
    };
  }

  ObjectiveParts objective(const PhaseSpec& spec, bool attacked) const {
    ObjectiveParts parts;
    parts.phase = spec;
    parts.forward = [this](const at::Tensor& x) {
      return ModelOutputs{session_.network->forward(x), {}};
    };
    parts.set_training = [this](bool on) { session_.network->train(on); };
    parts.parameters = session_.network->parameters();
    if (attacked) {
      const AdversarialSpec& adversarial = *session_.job.adversarial;
      parts.attack = Attack{adversarial.attack, input_bounds(session_.data),
                            static_cast<uint64_t>(session_.job.seed)};
      parts.attack_weight = adversarial.weight;
    }
    return parts;
  }

  ObjectiveParts quantized_objective() const {
    const auto& distill = session_.job.distill;
    const auto& adversarial = session_.job.adversarial;
    ObjectiveParts parts =
        objective(session_.job.qat, adversarial.has_value() && adversarial->in_qat);
    parts.forward = [this](const at::Tensor& x) { return ModelOutputs{prepared_->forward(x), {}}; };
    if (session_.job.recipe.oscillation.damping > 0.0) {
      parts.penalty = [this] { return prepared_->oscillation_loss(); };
    }
    if (!distill) return parts;
    parts.distill = distill;
    parts.teacher = std::make_shared<Teacher>(session_, folder_.float_model());
    if (distill->features.empty()) return parts;
    parts.forward = [this, sites = sites_of(*distill)](const at::Tensor& x) {
      const TappedOutputs all = prepared_->forward_with_taps({x}, sites);
      return ModelOutputs{all.outputs.at(0), all.taps};
    };
    return parts;
  }

  void checkpoint(const Optimizer* optimizer) {
    state_.job = to_yaml(session_.job);
    state_.data = session_.data.digest;
    state_.log = log_.sizes();
    state_.model = tensors_of(*session_.network);
    state_.optimizer = optimizer ? optimizer->state() : NamedTensors{};
    state_.quantizer = prepared_ ? prepared_->state() : NamedTensors{};
    state_.generator = at::detail::getDefaultCPUGenerator().get_state();
    save_state(folder_.latest(), state_);
  }

  void enter(Stage stage) {
    state_.stage = stage;
    state_.position = {};
    checkpoint(nullptr);
    if (stop_requested()) throw Stopped{stop_requested()};
  }

  void prepare_quantized() {
    Silence silence;
    const c10::WarningUtils::WarningHandlerGuard guard(
        start_.warned ? &silence : c10::WarningUtils::get_warning_handler());
    prepared_ = prepare_session(session_);
  }

  void load_float() {
    const std::string& path = session_.job.weights;
    if (start_.weights.empty()) start_.weights = load_weights(session_);
    copy_values(std::exchange(start_.weights, {}), tensors_of(*session_.network), path);
    save_tensors(folder_.float_model(), tensors_of(*session_.network), {{"format", "pt"}});
    log_.console.line("float: starting from " + path);
    enter(Stage::quantize);
  }

  void train_float() {
    Optimizer optimizer(session_.job.floating.optimizer, parameters_of(*session_.network));
    optimizer.load(state_.optimizer);
    LoopParts loop = parts("float", session_.job.floating, optimizer);
    const auto& adversarial = session_.job.adversarial;
    loop.objective = make_objective(
        objective(session_.job.floating, adversarial.has_value() && adversarial->in_float));
    loop.keep_best = [this] {
      save_tensors(folder_.float_model(), tensors_of(*session_.network), {{"format", "pt"}});
    };
    run_loop(loop, state_.position);
    copy_values(load_tensors(folder_.float_model()).tensors, tensors_of(*session_.network),
                folder_.float_model());
    enter(Stage::quantize);
  }

  void quantize() {
    const int64_t batches = session_.job.calibrate.batches;
    calibrate_with_steps(*prepared_, session_, log_, [&](int64_t batch) {
      if (stop_requested()) throw Stopped{stop_requested()};
      log_.console.bar("calibrate", batch, batches, "");
    });
    enter(Stage::qat);
  }

  void train_qat() {
    prepared_->set_phase(Phase::qat);
    copy_values(state_.quantizer, prepared_->state(), folder_.latest());
    Optimizer optimizer(session_.job.qat.optimizer, parameters_of(*session_.network),
                        prepared_->parameters(), session_.job.recipe.learned);
    optimizer.load(state_.optimizer);
    LoopParts loop = parts("qat", session_.job.qat, optimizer);
    loop.first_step = session_.job.floating.epochs * session_.train->batches();
    loop.forward = [this](const at::Tensor& x) { return prepared_->forward(x); };
    loop.objective = make_objective(quantized_objective());
    loop.schedule = [this](double fraction) { prepared_->step(fraction); };
    loop.counts = [this] {
      return prepared_->batch_norm_frozen() && prepared_->ranges_frozen() &&
             prepared_->fully_quantized();
    };
    loop.keep_best = [this] { save_quantized(folder_.best_qat(), session_, *prepared_); };
    if (session_.job.qat.epochs > 0) {
      run_loop(loop, state_.position);
    } else {
      loop.keep_best();
    }
    enter(Stage::finish);
  }

  Summary finish() {
    prepared_->set_phase(Phase::qat);
    load_quantized(folder_.best_qat(), session_, *prepared_);
    prepared_->step(1.0);
    session_.network->eval();
    return finish_run(folder_, session_, *prepared_, log_);
  }

  const RunFolder& folder_;
  Start start_;
  Session& session_ = start_.session;
  TrainingState state_;
  RunLog log_;
  std::shared_ptr<PreparedModel> prepared_;
};

Runner new_run(const Job& job, RunFolder& folder) {
  Start start(job);
  start.check_new();
  make_folder(folder, start.session.job);
  return {std::move(start), folder, nullptr};
}

}  // namespace

std::string Summary::line() const {
  char text[256];
  int size = std::snprintf(
      text, sizeof text,
      "float_accuracy=%.4f int8_accuracy=%.4f differing_logits=%lld/%lld size_ratio=%.4f",
      float_accuracy, int8_accuracy, static_cast<long long>(differing),
      static_cast<long long>(logits), size_ratio);
  if (robustness) {
    std::snprintf(text + size, sizeof text - static_cast<size_t>(size),
                  " float_robust_accuracy=%.4f int8_robust_accuracy=%.4f",
                  robustness->float_accuracy, robustness->int8_accuracy);
  }
  return text;
}

void run_float_phase(const Job& job, RunFolder& folder) { new_run(job, folder).run_float(); }

Summary run_job(const Job& job, RunFolder& folder) { return new_run(job, folder).run(); }

Summary resume_job(const Job& job, const RunFolder& folder) {
  Start start(job);
  if (!std::filesystem::exists(folder.latest())) {
    start.check_new();
    return Runner(std::move(start), folder, nullptr).run();
  }
  const TrainingState state = load_state(folder.latest());
  check_unchanged(state, start.session, folder);
  return Runner(std::move(start), folder, &state).run();
}

}  // namespace qat::train
