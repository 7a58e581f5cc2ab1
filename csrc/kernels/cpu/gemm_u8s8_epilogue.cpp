#include "kernels/cpu/gemm_u8s8_epilogue.h"

#include <algorithm>
#include <cmath>

namespace qat::kernels::u8s8 {
namespace {

bool all_finite(const float* values, int64_t n) {
  return std::all_of(values, values + n, [](float v) { return std::isfinite(v); });
}

DirectOperand operand_of(const Stage& stage, bool codes) {
  if (!codes) return DirectOperand::values;
  return stage.codes_signed ? DirectOperand::signed_codes : DirectOperand::unsigned_codes;
}

// Takes relu and clamp into the bounds; false for what is no clamp.
bool add_bounds(const numerics::Activation& activation, Direct& direct) {
  using Kind = numerics::ActivationKind;
  if (activation.kind == Kind::none) return true;
  const bool relu = activation.kind == Kind::relu;
  if (!relu && activation.kind != Kind::clamp) return false;
  const float low = relu ? 0.0f : activation.p0;
  const float high = relu ? INFINITY : activation.p1;
  if (std::isnan(low) || std::isnan(high)) return false;
  const Direct full = direct;
  const auto bound = [&](float v) {
    return numerics::clamp(numerics::unclamped_code(v, full.inverse, full.zero_point), full.lowest,
                           full.highest);
  };
  direct.lowest = bound(low);
  direct.highest = bound(high);
  return true;
}

// Well inside int32, so that the roundings that the estimate leaves out do not matter.
constexpr double kIntegers = 1 << 30;

double largest(const float* values, int64_t n) {
  double result = 0.0;
  for (int64_t i = 0; i < n; ++i) result = std::max<double>(result, std::abs(values[i]));
  return result;
}

// An upper bound of the magnitude of a code before clamping.
double largest_code(const Epilogue& e, int64_t channels, double largest_sum) {
  double value = largest_sum * largest(e.multiplier, channels) + largest(e.bias, channels);
  for (const Stage& stage : e.stages) {
    if (stage.kind != StageKind::operand) continue;
    if (!stage.reads_codes) return INFINITY;
    value += 512.0 * stage.params.scale;  // |code - zero point| < 512
  }
  return value / e.params.scale + 512.0;
}

}  // namespace

Direct direct_form(const Epilogue& e, int64_t channels, double largest_sum) {
  Direct direct;
  direct.inverse = numerics::inverse_scale(e.params.scale);
  direct.zero_point = numerics::to_float(e.params.zero_point);
  direct.lowest = numerics::to_float(e.format.quant_min());
  direct.highest = numerics::to_float(e.format.quant_max());
  const bool finite = all_finite(e.multiplier, channels) && all_finite(e.bias, channels) &&
                      std::isfinite(e.params.scale) && e.params.scale >= numerics::kMinScale &&
                      e.params.scale <= numerics::kMaxScale;
  if (!finite || !e.writes_codes) return direct;
  size_t next = 0;
  if (next < e.stages.size() && e.stages[next].kind == StageKind::operand) {
    const Stage& stage = e.stages[next++];
    if (stage.op != OperandKind::add || !(stage.params.scale <= numerics::kMaxScale)) return direct;
    direct.operand = operand_of(stage, stage.reads_codes);
  }
  if (next < e.stages.size() && e.stages[next].kind == StageKind::activation) {
    if (!add_bounds(e.stages[next++].activation, direct)) return direct;
  }
  direct.possible = next == e.stages.size();
  direct.bounded = largest_code(e, channels, largest_sum) < kIntegers;
  return direct;
}

}  // namespace qat::kernels::u8s8
