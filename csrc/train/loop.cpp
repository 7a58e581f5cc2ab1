#include "train/loop.h"

#include <chrono>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "error.h"
#include "train/schedule.h"
#include "train/stop_signal.h"

namespace qat::train {
namespace {

constexpr int64_t kLogEvery = 20;  // steps between two lines of metrics

std::string format(const char* pattern, double a, double b = 0, double c = 0, double d = 0) {
  char text[128];
  std::snprintf(text, sizeof text, pattern, a, b, c, d);
  return text;
}

class Loop {
 public:
  Loop(const LoopParts& parts, LoopPosition& position)
      : parts_(parts),
        position_(position),
        per_epoch_(parts.train.batches()),
        steps_(per_epoch_ * parts.spec.epochs) {}

  void run() {
    while (position_.epoch < parts_.spec.epochs) {
      started_ = std::chrono::steady_clock::now();
      parts_.set_training(true);
      while (position_.batch < per_epoch_) {
        step();
        ++position_.batch;
        if (stop_requested() && position_.batch < per_epoch_) stop();
      }
      finish_epoch();
      if (stop_requested()) throw Stopped{stop_requested()};  // the checkpoint is on disk
    }
  }

 private:
  int64_t done() const { return position_.epoch * per_epoch_ + position_.batch; }

  std::string label() const {
    return parts_.phase + " " + std::to_string(position_.epoch + 1) + "/" +
           std::to_string(parts_.spec.epochs);
  }

  void step() {
    if (parts_.schedule) parts_.schedule(static_cast<double>(done()) / static_cast<double>(steps_));
    const PhaseSpec& spec = parts_.spec;
    const double rate = spec.optimizer.lr * rate_factor(spec.schedule, done(), steps_, per_epoch_);
    parts_.optimizer.set_rate(rate);
    const Batch batch = parts_.train.batch(position_.epoch, position_.batch);
    parts_.optimizer.zero_grad();
    const auto [loss, logits] = parts_.objective(batch, position_.epoch, position_.batch);
    const double value = loss.item<double>();
    check_finite(value, "loss");
    loss.backward();
    parts_.optimizer.clip(spec.clip_norm);
    parts_.optimizer.step();
    count(logits.detach(), batch.targets, value);
    report(value, rate);
  }

  void check_finite(double loss, const char* what) const {
    if (std::isfinite(loss)) return;
    const bool between = position_.batch < per_epoch_;
    throw Error(std::string("training diverged: the ") + what + " is " +
                (std::isnan(loss) ? "NaN" : "infinite") + " at epoch " +
                std::to_string(position_.epoch + 1) +
                (between ? ", batch " + std::to_string(position_.batch + 1) : "") + "; lower " +
                parts_.phase + ".optimizer.lr or set " + parts_.phase + ".clip_norm");
  }

  void count(const at::Tensor& logits, const at::Tensor& targets, double loss) {
    const int64_t rows = targets.size(0);
    position_.loss_sum += loss * static_cast<double>(rows);
    position_.correct += logits.argmax(1).eq(targets).sum().item<int64_t>();
    position_.seen += rows;
  }

  void report(double loss, double rate) {
    const int64_t step = done() + 1;
    if (step % kLogEvery == 0) {
      parts_.log.metrics({{"phase", parts_.phase},
                          {"step", parts_.first_step + step},
                          {"loss", loss},
                          {"lr", rate}});
    }
    parts_.log.console.bar(label(), position_.batch + 1, per_epoch_,
                           format("loss %.4f lr %.4g", loss, rate));
  }

  void stop() {
    parts_.checkpoint(position_);
    throw Stopped{stop_requested()};
  }

  void finish_epoch() {
    const bool last = position_.epoch + 1 == parts_.spec.epochs;
    if (last && parts_.schedule) parts_.schedule(1.0);
    parts_.set_training(false);
    const Evaluation validation = evaluate(parts_.forward, parts_.validation, parts_.classes);
    check_finite(validation.loss(), "validation loss");  // the last step's damage shows only here
    const double accuracy = validation.accuracy();
    if (accuracy > position_.best && (last || !parts_.counts || parts_.counts())) {
      position_.best = accuracy;
      parts_.keep_best();
    }
    const auto seen = static_cast<double>(position_.seen);
    const double train_loss = position_.loss_sum / seen;
    const double train_accuracy = static_cast<double>(position_.correct) / seen;
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - started_;
    parts_.log.metrics({{"phase", parts_.phase},
                        {"step", parts_.first_step + (position_.epoch + 1) * per_epoch_},
                        {"epoch", position_.epoch + 1},
                        {"train_loss", train_loss},
                        {"train_accuracy", train_accuracy},
                        {"validation_loss", validation.loss()},
                        {"validation_accuracy", accuracy},
                        {"seconds", seconds.count()}});
    parts_.log.console.line(label() +
                            format(": loss %.4f accuracy %.4f, validation loss %.4f accuracy %.4f",
                                   train_loss, train_accuracy, validation.loss(), accuracy) +
                            format(" (%.1f s)", seconds.count()));
    LoopPosition next;
    next.epoch = position_.epoch + 1;
    next.best = position_.best;
    position_ = next;
    parts_.checkpoint(position_);
  }

  const LoopParts& parts_;
  LoopPosition& position_;
  int64_t per_epoch_, steps_;
  std::chrono::steady_clock::time_point started_;
};

}  // namespace

void run_loop(const LoopParts& parts, LoopPosition& position) { Loop(parts, position).run(); }

}  // namespace qat::train
