#pragma once
// Slow code written from docs/methods.md: integrals are cut at every decision boundary,
// distributions are written out.

#include <algorithm>
#include <cmath>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "numerics/histogram_ranges.h"

namespace qat::numerics::reference {

struct Data {
  std::vector<float> values;
  std::vector<int64_t> counts = std::vector<int64_t>(kHistogramSlots);
  Histogram histogram;

  explicit Data(std::vector<float> from) : values(std::move(from)) {
    float magnitude = 0.0f;
    for (const float v : values) {
      histogram.lo = std::min(histogram.lo, v);
      histogram.hi = std::max(histogram.hi, v);
      magnitude = std::max(magnitude, std::fabs(v));
    }
    histogram.exponent = bin_exponent(magnitude);
    const float inverse = inverse_bin_width(histogram.exponent);
    for (const float v : values) ++counts[static_cast<size_t>(histogram_slot(v, inverse))];
    histogram.counts = counts.data();
  }
  Data(const Data&) = delete;
};

inline std::vector<float> sample(const std::string& kind) {
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  std::student_t_distribution<float> heavy(3.0f);
  std::vector<float> values(20000);
  for (float& v : values) v = kind == "heavy" ? heavy(random) : normal(random);
  if (kind == "relu") {
    for (float& v : values) v = std::max(v, 0.0f);
  }
  if (kind == "shifted") {
    for (float& v : values) v = 0.25f * v + 0.5f;
  }
  return values;
}

inline const std::vector<std::string> kSamples = {"normal", "heavy", "relu", "shifted"};

inline std::vector<CodeRange> code_ranges() {
  std::vector<CodeRange> all;
  for (const int bits : {2, 3, 4, 8}) {
    for (const bool power_of_two : {false, true}) {
      all.push_back({{bits, false, false}, Symmetry::affine, power_of_two});
      all.push_back({{bits, true, false}, Symmetry::symmetric, power_of_two});
    }
  }
  return all;
}

// ------------------------------------------------------------------------------

struct Codes {
  double scale, zero_point, quant_min, quant_max;
  Codes(const Interval& range, const CodeRange& c) {
    const auto params = choose_qparams(range.lo, range.hi, c.format, c.symmetry, c.power_of_two);
    scale = params.scale;
    zero_point = params.zero_point;
    quant_min = c.format.quant_min();
    quant_max = c.format.quant_max();
  }
  double code(double x) const {
    return std::min(std::max(std::nearbyint(x / scale + zero_point), quant_min), quant_max);
  }
  double error(double x) const { return x - (code(x) - zero_point) * scale; }
};

// Simpson's rule is exact for a parabola, and (x - x_hat)^2 is one between two boundaries.
inline double mean_square(const Codes& codes, double from, double to) {
  std::vector<double> cuts = {from};
  for (double q = codes.quant_min; q < codes.quant_max; ++q) {
    const double boundary = (q + 0.5 - codes.zero_point) * codes.scale;
    if (boundary > from && boundary < to) cuts.push_back(boundary);
  }
  cuts.push_back(to);
  double integral = 0.0;
  for (size_t i = 0; i + 1 < cuts.size(); ++i) {
    const double a = cuts[i], b = cuts[i + 1], middle = (a + b) / 2;
    const double at = (codes.code(middle) - codes.zero_point) * codes.scale;
    const auto f = [at](double x) { return (x - at) * (x - at); };
    integral += (b - a) / 6 * (f(a) + 4 * f(middle) + f(b));
  }
  return integral / (to - from);
}

inline double slow_squared_error(const Histogram& h, const Codes& codes) {
  const double width = std::ldexp(1.0, h.exponent);
  double sum = 0.0;
  for (int bin = 0; bin < kHistogramBins; ++bin) {
    if (h.counts[bin] == 0) continue;
    const double from = std::max<double>((bin - 1024) * width, h.lo);
    const double to = std::min<double>((bin - 1023) * width, h.hi);
    const double mean = from < to ? mean_square(codes, from, to) : std::pow(codes.error(from), 2);
    sum += static_cast<double>(h.counts[bin]) * mean;
  }
  return sum;
}

inline double slow_divergence(const Histogram& h, const Codes& codes, const Interval& range) {
  const double width = std::ldexp(1.0, h.exponent);
  if (codes.scale < width) return INFINITY;
  std::vector<double> p(kHistogramBins), inside(kHistogramBins), q(kHistogramBins);
  const int first = range.lo < 0 ? 1023 - static_cast<int>(-range.lo / width) : 1024;
  const int last = range.hi > 0 ? 1024 + static_cast<int>(range.hi / width) : 1023;
  for (int bin = 0; bin < kHistogramBins; ++bin) {
    const int kept = std::min(std::max(bin, first), last);
    p[static_cast<size_t>(kept)] += static_cast<double>(h.counts[bin]);
    if (kept == bin) inside[static_cast<size_t>(bin)] = static_cast<double>(h.counts[bin]);
  }
  for (double code = codes.quant_min; code <= codes.quant_max; ++code) {
    std::vector<size_t> bins;
    double mass = 0.0;
    for (size_t bin = 0; bin < p.size(); ++bin) {
      const double centre = (static_cast<double>(bin) - 1023.5) * width;
      if (p[bin] == 0 || codes.code(centre) != code) continue;
      bins.push_back(bin);
      mass += inside[bin];
    }
    for (const size_t bin : bins) q[bin] = mass / static_cast<double>(bins.size());
  }
  const auto sum = [](const std::vector<double>& v) {
    double total = 0.0;
    for (const double x : v) total += x;
    return total;
  };
  const double p_total = sum(p), q_total = sum(q);
  double divergence = 0.0;
  for (size_t bin = 0; bin < p.size(); ++bin) {
    if (p[bin] == 0) continue;
    if (q[bin] == 0) return INFINITY;
    divergence += p[bin] / p_total * std::log(p[bin] / p_total / (q[bin] / q_total));
  }
  return divergence;
}

inline std::vector<double> shares() {
  std::vector<double> found;
  for (int e = 0; e < 10; ++e) {
    for (int m = 16; m > 8; --m) found.push_back(std::ldexp(m, -4 - e));
  }
  return found;
}

inline Interval candidate(const Histogram& h, const CodeRange& codes, double share) {
  Interval all = {std::min(h.lo, 0.0f), std::max(h.hi, 0.0f)};
  if (codes.symmetry == Symmetry::symmetric) {
    const float magnitude = std::max(-all.lo, all.hi);
    all = {-magnitude, magnitude};
  }
  return {static_cast<float>(all.lo * share), static_cast<float>(all.hi * share)};
}

}  // namespace qat::numerics::reference
