// When the sites of a plan begin to compute in integers, and with how many bits.

#include <algorithm>
#include <limits>
#include <sstream>

#include "insert/plan.h"

namespace qat::insert {
namespace {

using capture::Kind;

bool returns_views(Kind kind) {
  switch (kind) {
    case Kind::reshape:
    case Kind::permute:
    case Kind::slice:
    case Kind::split:
      return true;
    default:
      return false;
  }
}

std::string spelled(double fraction) {
  std::ostringstream out;
  out << fraction;
  return out.str();
}

// The stage that is in force, or as many as there are.
size_t stage_at(const QuantizeSchedule& schedule, double fraction) {
  size_t stage = 0;
  while (stage < schedule.stages.size() && fraction >= schedule.stages[stage].until) ++stage;
  return stage;
}

}  // namespace

void complete_starts(const capture::Trace& trace, Plan& plan) {
  const auto never = std::numeric_limits<double>::infinity();
  for (QuantizerPlan& quantizer : plan.quantizers) quantizer.start = never;
  for (size_t i = 0; i < trace.nodes.size(); ++i) {
    const auto& node = trace.nodes[i];
    SitePlan& site = plan.sites[i];
    if (!site.integer) continue;
    const auto inputs = node.inputs();
    if (returns_views(node.kind)) {
      const auto& viewed = trace.values[inputs[0]];
      const bool made = viewed.source == capture::Source::node;
      if (made) site.start = std::max(site.start, plan.sites[viewed.index].start);
    }
    const auto used = [&](int quantizer) {
      if (quantizer == kNoQuantizer) return;
      double& start = plan.quantizers[static_cast<size_t>(quantizer)].start;
      start = std::min(start, site.start);
    };
    used(site.output);
    for (size_t k = 0; k < inputs.size(); ++k) {
      used(site.operands[k]);
      used(plan.value_quantizer[static_cast<size_t>(inputs[k])]);
    }
  }
}

Progress progress_at(const QuantizeSchedule& schedule, double fraction) {
  const size_t stage = stage_at(schedule, fraction);
  if (stage == schedule.stages.size()) return {fraction};
  return {fraction, schedule.stages[stage].weights, schedule.stages[stage].activations};
}

std::string unfinished(const capture::Trace& trace, const Plan& plan,
                       const QuantizeSchedule& schedule, double fraction) {
  for (size_t i = 0; i < plan.sites.size(); ++i) {
    const SitePlan& site = plan.sites[i];
    if (!site.integer || fraction >= site.start) continue;
    const std::string start = spelled(site.start);
    return "'" + trace.nodes[i].name + "' (" + trace.nodes[i].stem +
           ") is not quantized before fraction " + start + "; call step(model, " + start + ")";
  }
  const size_t stage = stage_at(schedule, fraction);
  if (stage == schedule.stages.size()) return {};
  const BitsStage& now = schedule.stages[stage];
  return "recipe.schedule.stages[" + std::to_string(stage) + "] keeps " +
         std::to_string(now.weights) + " bits for weights and " + std::to_string(now.activations) +
         " for activations until fraction " + spelled(now.until) + "; call step(model, " +
         spelled(schedule.stages.back().until) + ")";
}

}  // namespace qat::insert
