#include <algorithm>

#include "train/job_sections.h"

namespace qat::train {
namespace {

constexpr Interval kShare{0.0, 1.0};

OptimizerSpec parse_optimizer(const Node& node, const std::string& path,
                              const OptimizerSpec& defaults) {
  const Fields fields(node, path, {"name", "lr", "weight_decay", "momentum", "nesterov", "betas"});
  OptimizerSpec spec = defaults;
  using Kind = OptimizerSpec::Kind;
  const Words names = {"sgd", "adam", "adamw"};
  const std::string name = fields.choice("name", names[static_cast<int>(spec.kind)], names);
  spec.kind = name == "sgd" ? Kind::sgd : name == "adam" ? Kind::adam : Kind::adamw;
  spec.lr = fields.number("lr", spec.lr, {0.0, 100.0, true});
  spec.weight_decay = fields.number("weight_decay", spec.weight_decay, kShare);
  if (spec.kind != Kind::sgd) {
    for (const char* key : {"momentum", "nesterov"}) {
      if (fields.find(key)) fields.fail(key, "belongs to the optimizer sgd, not to " + name);
    }
    const auto betas = fields.numbers("betas", {0.0, 1.0, false, true});
    if (!betas.empty() && betas.size() != 2) fields.fail("betas", "expected two numbers");
    if (!betas.empty()) spec.beta1 = betas[0], spec.beta2 = betas[1];
    return spec;
  }
  if (fields.find("betas")) fields.fail("betas", "belongs to the optimizers adam and adamw");
  spec.momentum = fields.number("momentum", spec.momentum, {0.0, 1.0, false, true});
  spec.nesterov = fields.boolean("nesterov", spec.nesterov && spec.momentum > 0);
  if (spec.nesterov && spec.momentum == 0) fields.fail("nesterov", "needs a momentum above 0");
  return spec;
}

ScheduleSpec parse_schedule(const Node& node, const std::string& path,
                            const ScheduleSpec& defaults) {
  const Fields fields(node, path, {"name", "warmup", "start", "end", "every", "gamma"});
  ScheduleSpec spec = defaults;
  const Words names = {"constant", "cosine", "step", "one_cycle"};
  const std::string name = fields.choice("name", names[static_cast<int>(spec.kind)], names);
  const auto chosen = std::find(names.begin(), names.end(), name) - names.begin();
  spec.kind = static_cast<ScheduleSpec::Kind>(chosen);
  const bool curved = name == "cosine" || name == "one_cycle";
  for (const char* key : {"warmup", "start", "end"}) {
    if (fields.find(key) && !curved) {
      fields.fail(key, "belongs to the schedules cosine and one_cycle, not to " + name);
    }
  }
  for (const char* key : {"every", "gamma"}) {
    if (fields.find(key) && name != "step") {
      fields.fail(key, "belongs to the schedule step, not to " + name);
    }
  }
  spec.warmup = fields.number("warmup", name == "cosine" ? 0.0 : spec.warmup, kShare);
  spec.start = fields.number("start", spec.start, kShare);
  spec.end = fields.number("end", spec.end, kShare);
  spec.every = fields.integer("every", spec.every, 1, 10'000);
  spec.gamma = fields.number("gamma", spec.gamma, {0.0, 1.0, true});
  return spec;
}

}  // namespace

PhaseSpec parse_phase(const Node& node, const std::string& path, const PhaseSpec& defaults) {
  const Fields fields(node, path,
                      {"epochs", "optimizer", "schedule", "clip_norm", "label_smoothing", "amp"});
  PhaseSpec spec = defaults;
  // Without quantization-aware epochs the calibrated model is the result.
  spec.epochs = fields.integer("epochs", spec.epochs, path == "qat" ? 0 : 1, 100'000);
  if (const Node* part = fields.find("optimizer")) {
    spec.optimizer = parse_optimizer(*part, path + ".optimizer", spec.optimizer);
  }
  if (const Node* part = fields.find("schedule")) {
    spec.schedule = parse_schedule(*part, path + ".schedule", spec.schedule);
  }
  spec.clip_norm = fields.number("clip_norm", spec.clip_norm, {0.0, 1e6});
  spec.label_smoothing =
      fields.number("label_smoothing", spec.label_smoothing, {0.0, 1.0, false, true});
  spec.bfloat16 =
      fields.choice("amp", spec.bfloat16 ? "bfloat16" : "none", {"none", "bfloat16"}) == "bfloat16";
  return spec;
}

}  // namespace qat::train
