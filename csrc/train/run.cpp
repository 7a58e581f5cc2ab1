#include "train/run.h"

#include <ATen/CPUGeneratorImpl.h>

#include <cstdio>
#include <filesystem>

#include "train/finish.h"
#include "train/quantization_step.h"
#include "train/stop_signal.h"
#include "train/training_state.h"

namespace qat::train {
namespace {

class Runner {
 public:
  Runner(const Job& job, const RunFolder& folder, const TrainingState* resumed)
      : folder_(folder),
        session_(open_session(job)),
        state_(resumed ? *resumed : TrainingState{}),
        log_(folder.path, state_.log) {
    log_.console.line((resumed ? "resuming " : "run folder ") + folder_.path);
    if (!resumed) return;
    copy_values(state_.model, tensors_of(*session_.network), folder_.latest());
    // Last of all: initialising the network drew random numbers too.
    at::Generator generator = at::detail::getDefaultCPUGenerator();
    generator.set_state(state_.generator);
  }

  Summary run() {
    if (state_.stage == Stage::floating) train_float();
    prepared_ = prepare_session(session_);
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

  void checkpoint(const Optimizer* optimizer) {
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

  void train_float() {
    Optimizer optimizer(session_.job.floating.optimizer, parameters_of(*session_.network));
    optimizer.load(state_.optimizer);
    LoopParts loop = parts("float", session_.job.floating, optimizer);
    loop.keep_best = [this] {
      save_tensors(folder_.float_model(), tensors_of(*session_.network), {{"format", "pt"}});
    };
    run_loop(loop, state_.position);
    copy_values(load_tensors(folder_.float_model()).tensors, tensors_of(*session_.network),
                folder_.float_model());
    enter(Stage::quantize);
  }

  void quantize() {
    const int64_t batches = session_.job.calibrate_batches;
    calibrate(*prepared_, session_, [&](int64_t batch) {
      if (stop_requested()) throw Stopped{stop_requested()};
      log_.console.bar("calibrate", batch, batches, "");
    });
    log_.console.line("calibrate: ranges observed on " + std::to_string(batches) + " batches");
    enter(Stage::qat);
  }

  void train_qat() {
    prepared_->set_phase(Phase::qat);
    copy_values(state_.quantizer, prepared_->state(), folder_.latest());
    Optimizer optimizer(session_.job.qat.optimizer, parameters_of(*session_.network));
    optimizer.load(state_.optimizer);
    LoopParts loop = parts("qat", session_.job.qat, optimizer);
    loop.first_step = session_.job.floating.epochs * session_.train->batches();
    loop.forward = [this](const at::Tensor& x) { return prepared_->forward(x); };
    loop.schedule = [this](double fraction) { prepared_->step(fraction); };
    loop.counts = [this] { return prepared_->batch_norm_frozen() && prepared_->ranges_frozen(); };
    loop.keep_best = [this] { save_quantized(folder_.best_qat(), session_, *prepared_); };
    run_loop(loop, state_.position);
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
  Session session_;
  TrainingState state_;
  RunLog log_;
  std::shared_ptr<PreparedModel> prepared_;
};

}  // namespace

std::string Summary::line() const {
  char text[160];
  std::snprintf(text, sizeof text,
                "float_accuracy=%.4f int8_accuracy=%.4f differing_logits=%lld/%lld size_ratio=%.4f",
                float_accuracy, int8_accuracy, static_cast<long long>(differing),
                static_cast<long long>(logits), size_ratio);
  return text;
}

Summary run_job(const Job& job, const RunFolder& folder) {
  if (!std::filesystem::exists(folder.latest())) return Runner(job, folder, nullptr).run();
  const TrainingState state = load_state(folder.latest());
  return Runner(job, folder, &state).run();
}

}  // namespace qat::train
