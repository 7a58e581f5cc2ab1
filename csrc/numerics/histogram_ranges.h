#pragma once
// Ranges to cover with codes, found in a histogram; docs/methods.md has the formulas. In binary64,
// each sum in one fixed order, on grids of candidates that no library function rounds.

#include <algorithm>
#include <array>
#include <cstddef>
#include <limits>

#include "numerics/histogram.h"
#include "numerics/qparams.h"

namespace qat::numerics {

struct CodeRange {
  IntFormat format;
  Symmetry symmetry = Symmetry::affine;
  bool power_of_two = false;
};

// Finite, lo <= 0 <= hi.
struct Interval {
  float lo = 0.0f, hi = 0.0f;
};

inline double wide_bin_width(const Histogram& h) { return std::ldexp(1.0, h.exponent); }

// The extremes, widened to contain zero; {0, 0} where nothing was seen.
inline Interval whole_range(const Histogram& h) {
  return {h.lo < 0.0f ? h.lo : 0.0f, h.hi > 0.0f ? h.hi : 0.0f};
}

// --- Percentile ---------------------------------------------------------------------------------

// The magnitude below which `percent` of the values of one side lie, every bin's values being
// spread evenly over it. first, step: the bin next to zero and the way outwards.
inline double side_percentile(const Histogram& h, int32_t first, int32_t step, double percent) {
  const auto count = [&](int32_t k) { return static_cast<double>(h.counts[first + step * k]); };
  double total = 0.0;
  for (int32_t k = 0; k < kSideBins; ++k) total += count(k);
  const double wanted = total * percent / 100.0;
  double below = 0.0;
  for (int32_t k = 0; k < kSideBins; ++k) {
    if (count(k) > 0.0 && below + count(k) >= wanted) {
      return (k + (wanted - below) / count(k)) * wide_bin_width(h);
    }
    below += count(k);
  }
  return total > 0.0 ? kSideBins * wide_bin_width(h) : 0.0;
}

// percent: in (0, 100]; 100 gives the extremes.
inline Interval percentile_range(const Histogram& h, double percent) {
  const Interval all = whole_range(h);
  const double lo = -side_percentile(h, kSideBins - 1, -1, percent);
  const double hi = side_percentile(h, kSideBins, 1, percent);
  return {percent < 100.0 ? std::max(all.lo, static_cast<float>(lo)) : all.lo,
          percent < 100.0 ? std::min(all.hi, static_cast<float>(hi)) : all.hi};
}

// --- The search that the methods below share ----------------------------------------------------

// The share in (0, 1] with the smallest cost; of equals the first that is looked at, and 1 is the
// very first. m/16 · 2^-e, m = 16..9, e = 0..9, which ends at one bin of a full side, then 30
// shares between the best one's neighbours. `lowest` is the cost to beat and becomes the cost
// found; 0: nothing beats it.
template <typename Cost>
double best_share(const Cost& cost, double& lowest) {
  double best = 0.0, spacing = 0.0;
  const auto consider = [&](double share) {
    const double found = cost(share);
    if (!(found < lowest)) return false;
    lowest = found;
    best = share;
    return true;
  };
  for (double octave = 1.0 / 16.0; octave >= 0x1p-13; octave /= 2.0) {
    for (int m = 16; m > 8; --m) {
      if (consider(m * octave)) spacing = octave;
    }
  }
  const double coarse = best;
  for (int i = 15; i >= -15 && coarse > 0.0; --i) {
    const double share = coarse + i * (spacing / 16.0);
    if (i != 0 && share <= 1.0) consider(share);
  }
  return best;
}

inline Interval shrink(const Interval& range, double lo_share, double hi_share) {
  return {static_cast<float>(range.lo * lo_share), static_cast<float>(range.hi * hi_share)};
}

// cost(Interval): infinity for a candidate that is out of the question. Symmetric: one magnitude.
// Affine: one share of both ends, then twice the upper end alone and the lower end alone.
template <typename Cost>
Interval best_range(const Histogram& h, const CodeRange& codes, const Cost& cost) {
  Interval all = whole_range(h);
  if (codes.symmetry == Symmetry::symmetric) {
    const float magnitude = codes.format.is_signed ? std::max(-all.lo, all.hi) : all.hi;
    all = {codes.format.is_signed ? -magnitude : 0.0f, magnitude};
  }
  if (!(all.lo < all.hi)) return {};
  double lowest = std::numeric_limits<double>::infinity();
  double lo = best_share([&](double share) { return cost(shrink(all, share, share)); }, lowest);
  if (lo == 0.0) return all;
  double hi = lo;
  const bool two_sided = all.lo < 0.0f && all.hi > 0.0f;
  for (int pass = 0; pass < 2 && two_sided && codes.symmetry == Symmetry::affine; ++pass) {
    const auto keep = [](double& end, double found) { end = found > 0.0 ? found : end; };
    keep(hi, best_share([&](double share) { return cost(shrink(all, lo, share)); }, lowest));
    keep(lo, best_share([&](double share) { return cost(shrink(all, share, hi)); }, lowest));
  }
  return shrink(all, lo, hi);
}

// The codes that rules 5 and 2 give, as multiples of the scale.
struct CodeGrid {
  double scale, zero_point, quant_min, quant_max;

  CodeGrid(const Interval& range, const CodeRange& codes)
      : quant_min(codes.format.quant_min()), quant_max(codes.format.quant_max()) {
    const QuantParams params =
        choose_qparams(range.lo, range.hi, codes.format, codes.symmetry, codes.power_of_two);
    scale = params.scale;
    zero_point = params.zero_point;
  }

  // Clamping first changes nothing, as both ends are integers, and lets 1.5 · 2^52 round (to even)
  // without a call, which takes a search from 5.2 to 4.5 ms.
  double code(double x) const {
    const double limited = clamp(x / scale + zero_point, quant_min, quant_max);
    return (limited + 0x1.8p52) - 0x1.8p52;
  }
  double multiple(double x) const { return code(x) - zero_point; }
};

// --- Squared error ------------------------------------------------------------------------------

// An antiderivative of (x - multiple(x) · scale)^2: whole steps of scale^3 / 12 each, then the way
// from the last multiple.
inline double squared_error_integral(const CodeGrid& grid, double x) {
  const double step = grid.multiple(x), rest = x - step * grid.scale;
  return step * (grid.scale * grid.scale * grid.scale / 12.0) + rest * rest * rest / 3.0;
}

// The sum over all values of their expected squared error, the values of a bin being spread evenly
// over the part of it that lies between the extremes.
inline double squared_error(const Histogram& h, const CodeGrid& grid) {
  const double width = wide_bin_width(h), lo = h.lo, hi = h.hi;
  double sum = 0.0;
  for (int32_t bin = 0; bin < kHistogramBins; ++bin) {
    if (h.counts[bin] == 0) continue;
    const double from = std::max((bin - kSideBins) * width, lo);
    const double to = std::min((bin - kSideBins + 1) * width, hi);
    double mean = 0.0;
    if (to > from) {
      mean = (squared_error_integral(grid, to) - squared_error_integral(grid, from)) / (to - from);
    } else {
      const double error = from - grid.multiple(from) * grid.scale;
      mean = error * error;
    }
    sum += static_cast<double>(h.counts[bin]) * mean;
  }
  return sum;
}

inline Interval mse_range(const Histogram& h, const CodeRange& codes) {
  return best_range(
      h, codes, [&](const Interval& range) { return squared_error(h, CodeGrid(range, codes)); });
}

// --- Relative entropy ---------------------------------------------------------------------------

// KL(P || Q) of candidates. P: the histogram with what lies outside of the range added to its
// outermost bins. Q: what lies inside, each code's share spread evenly over those of its bins where
// P is not zero. Zeros belong to neither.
class Divergence {
 public:
  Divergence(const Histogram& h, const CodeRange& codes) : h_(h), codes_(codes) {
    for (int32_t bin = 0; bin < kHistogramBins; ++bin) total_ += count(bin);
  }

  double operator()(const Interval& range) const {
    constexpr double kNever = std::numeric_limits<double>::infinity();
    const CodeGrid grid(range, codes_);
    const double width = wide_bin_width(h_);
    if (grid.scale < width) return kNever;  // codes finer than bins would look free of loss
    const int32_t begin = kSideBins - bins_up_to(-static_cast<double>(range.lo) / width);
    const int32_t end = kSideBins + bins_up_to(static_cast<double>(range.hi) / width);
    if (begin >= end) return kNever;
    double below = 0.0, above = 0.0;
    for (int32_t bin = 0; bin < begin; ++bin) below += count(bin);
    for (int32_t bin = end; bin < kHistogramBins; ++bin) above += count(bin);
    const double inside = total_ - below - above;

    std::array<Cell, 1 << kMaxBits> cells{};
    double entropy = 0.0;  // sum of P ln P, in counts
    for (int32_t bin = begin; bin < end; ++bin) {
      const double p = count(bin) + (bin == begin ? below : 0.0) + (bin == end - 1 ? above : 0.0);
      if (p == 0.0) continue;
      const double code = grid.code((bin - kSideBins + 0.5) * width);
      Cell& cell = cells[static_cast<size_t>(code - grid.quant_min)];
      cell.p += p;
      cell.q += count(bin);
      cell.bins += 1.0;
      entropy += p * std::log(p);
    }
    double cross = 0.0;
    for (const Cell& cell : cells) {
      if (cell.p == 0.0) continue;
      if (cell.q == 0.0) return kNever;
      cross += cell.p * std::log(cell.q / cell.bins);
    }
    return (entropy - cross) / total_ - std::log(total_) + std::log(inside);
  }

 private:
  struct Cell {
    double p = 0.0, q = 0.0, bins = 0.0;
  };
  double count(int32_t bin) const { return static_cast<double>(h_.counts[bin]); }
  // How many bins hold the magnitudes up to and with this one.
  static int32_t bins_up_to(double widths) {
    if (!(widths > 0.0)) return 0;
    return static_cast<int32_t>(std::min<double>(std::floor(widths) + 1.0, kSideBins));
  }

  const Histogram& h_;
  CodeRange codes_;
  double total_ = 0.0;
};

inline Interval kl_range(const Histogram& h, const CodeRange& codes) {
  return best_range(h, codes, Divergence(h, codes));
}

}  // namespace qat::numerics
