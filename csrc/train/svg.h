#pragma once
// Small charts as inline SVG.

#include <string>
#include <utility>
#include <vector>

namespace qat::train {

std::string escape_html(const std::string& text);

struct Series {
  std::string name;
  std::string color;
  std::vector<std::pair<double, double>> points;
};

// Lines over common axes with ticks and a legend.
std::string line_chart(const std::string& title, const std::string& x_label,
                       const std::vector<Series>& series);

struct Bar {
  std::string name;
  double low, high;
  std::string label;  // written behind the bar
};

// Horizontal bars from low to high over one axis that includes 0.
std::string bar_chart(const std::string& title, const std::string& color,
                      const std::vector<Bar>& bars);

}  // namespace qat::train
