#include "train/svg.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>

namespace qat::train {
namespace {

constexpr double kWidth = 560, kHeight = 260, kLeft = 56, kRight = 16, kTop = 40, kBottom = 40;

std::string format(const char* pattern, double a, double b = 0, double c = 0, double d = 0) {
  char text[160];
  std::snprintf(text, sizeof text, pattern, a, b, c, d);
  return text;
}

std::string line(double x1, double y1, double x2, double y2, const std::string& style) {
  return format("<line x1='%.1f' y1='%.1f' x2='%.1f' y2='%.1f' ", x1, y1, x2, y2) + style + "/>";
}

std::string label(double x, double y, const std::string& anchor, const std::string& text) {
  return format("<text x='%.1f' y='%.1f' ", x, y) + "text-anchor='" + anchor + "'>" +
         escape_html(text) + "</text>";
}

std::string open(double height, const std::string& title) {
  return format("<svg viewBox='0 0 %.0f %.0f' width='%.0f' height='%.0f' role='img'>", kWidth,
                height, kWidth, height) +
         "<title>" + escape_html(title) + "</title>" + "<text x='8' y='18' class='title'>" +
         escape_html(title) + "</text>";
}

// The end of a dotted name says more than its start; 28 characters fill the margin of names.
std::string shortened(const std::string& name) {
  constexpr size_t kLongest = 28;
  return name.size() <= kLongest ? name : "..." + name.substr(name.size() - kLongest + 3);
}

// A linear map of [low, high] to pixels, with round ticks.
struct Axis {
  double low, high, from, to;

  static Axis over(double low, double high, double from, double to) {
    if (!(high > low)) high = low + 1;
    return {low, high, from, to};
  }
  double at(double value) const { return from + (value - low) / (high - low) * (to - from); }
  std::vector<double> ticks() const {
    const double raw = (high - low) / 5;
    const double power = std::pow(10.0, std::floor(std::log10(raw)));
    double step = power;
    for (const double factor : {2.0, 5.0, 10.0}) {
      if (step < raw) step = factor * power;
    }
    std::vector<double> values;
    for (double tick = std::ceil(low / step) * step; tick <= high + step * 1e-9; tick += step) {
      values.push_back(std::abs(tick) < step * 1e-9 ? 0 : tick);
    }
    return values;
  }
};

}  // namespace

std::string escape_html(const std::string& text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

std::string line_chart(const std::string& title, const std::string& x_label,
                       const std::vector<Series>& series) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  double x_low = kInfinity, x_high = -kInfinity, y_low = kInfinity, y_high = -kInfinity;
  for (const Series& one : series) {
    for (const auto& [x, y] : one.points) {
      x_low = std::min(x_low, x), x_high = std::max(x_high, x);
      y_low = std::min(y_low, y), y_high = std::max(y_high, y);
    }
  }
  if (x_low > x_high) return "";
  const Axis xs = Axis::over(x_low, x_high, kLeft, kWidth - kRight);
  const Axis ys = Axis::over(y_low, y_high, kHeight - kBottom, kTop);
  std::string svg = open(kHeight, title);
  for (const double tick : ys.ticks()) {
    svg += line(kLeft, ys.at(tick), kWidth - kRight, ys.at(tick), "class='grid'") +
           label(kLeft - 6, ys.at(tick) + 4, "end", format("%.4g", tick));
  }
  for (const double tick : xs.ticks()) {
    svg += label(xs.at(tick), kHeight - kBottom + 16, "middle", format("%.6g", tick));
  }
  svg += label((kLeft + kWidth - kRight) / 2, kHeight - 6, "middle", x_label);
  double legend = kWidth - kRight;
  for (const Series& one : series) {
    svg += "<polyline fill='none' stroke-width='1.6' stroke='" + one.color + "' points='";
    for (const auto& [x, y] : one.points) svg += format("%.1f,%.1f ", xs.at(x), ys.at(y));
    svg += "'/>";
    if (one.points.size() == 1) {
      svg += format("<circle r='3' cx='%.1f' cy='%.1f' ", xs.at(one.points[0].first),
                    ys.at(one.points[0].second)) +
             "fill='" + one.color + "'/>";
    }
    svg += "<g fill='" + one.color + "'>" + label(legend, 18, "end", one.name) + "</g>";
    legend -= 7.0 * static_cast<double>(one.name.size()) + 14;
  }
  return svg + "</svg>\n";
}

std::string bar_chart(const std::string& title, const std::string& color,
                      const std::vector<Bar>& bars) {
  constexpr double kRow = 18, kNames = 190, kLabels = 90;
  if (bars.empty()) return "";
  double low = 0, high = 0;
  for (const Bar& bar : bars) {
    low = std::min(low, bar.low);
    high = std::max(high, bar.high);
  }
  const double bottom = kTop + kRow * static_cast<double>(bars.size());
  const Axis xs = Axis::over(low, high, kNames, kWidth - kLabels);
  std::string svg = open(bottom + 24, title);
  for (const double tick : xs.ticks()) {
    svg += line(xs.at(tick), kTop - 6, xs.at(tick), bottom, "class='grid'") +
           label(xs.at(tick), bottom + 14, "middle", format("%.4g", tick));
  }
  double y = kTop;
  for (const Bar& bar : bars) {
    const double from = xs.at(bar.low), to = xs.at(bar.high);
    svg += label(kNames - 8, y + 9, "end", shortened(bar.name)) +
           format("<rect x='%.1f' y='%.1f' width='%.1f' height='11' ", from, y,
                  std::max(to - from, 1.0)) +
           "fill='" + color + "'/>" + label(to + 4, y + 9, "start", bar.label);
    y += kRow;
  }
  return svg + "</svg>\n";
}

}  // namespace qat::train
