#include "train/schedule.h"

#include <cmath>
#include <numbers>

namespace qat::train {
namespace {

// Half a cosine from `from` at 0 to `to` at 1.
double ease(double from, double to, double share) {
  return to + (from - to) * 0.5 * (1.0 + std::cos(std::numbers::pi * share));
}

}  // namespace

double rate_factor(const ScheduleSpec& spec, int64_t step, int64_t steps, int64_t steps_per_epoch) {
  using Kind = ScheduleSpec::Kind;
  if (spec.kind == Kind::constant) return 1.0;
  if (spec.kind == Kind::step) {
    return std::pow(spec.gamma, static_cast<double>(step / steps_per_epoch / spec.every));
  }
  const double rise = spec.warmup * static_cast<double>(steps);
  const double at = static_cast<double>(step);
  if (at < rise) {
    const double share = at / rise;
    return spec.kind == Kind::cosine ? spec.start + (1.0 - spec.start) * share
                                     : ease(spec.start, 1.0, share);
  }
  return ease(1.0, spec.end, (at - rise) / (static_cast<double>(steps) - rise));
}

}  // namespace qat::train
