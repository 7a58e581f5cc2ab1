#include "quantizers/kmeans.h"

#include <algorithm>
#include <cmath>

namespace qat::quantizers {
namespace {

constexpr int kIterations = 300;

double midpoint(double a, double b) { return (a + b) / 2; }

// Sums of the first i values, so that a cluster costs two look-ups.
std::vector<double> prefix_sums(const std::vector<float>& sorted) {
  std::vector<double> sums(sorted.size() + 1, 0.0);
  for (size_t i = 0; i < sorted.size(); ++i) sums[i + 1] = sums[i] + double{sorted[i]};
  return sums;
}

std::vector<double> spread_evenly(double lowest, double highest, int count, bool with_zero) {
  std::vector<double> centroids;
  const int moving = with_zero ? count - 1 : count;
  for (int k = 0; k < moving; ++k) {
    const double share = moving == 1 ? 0.5 : static_cast<double>(k) / (moving - 1);
    centroids.push_back(lowest + (highest - lowest) * share);
  }
  if (with_zero) centroids.push_back(0.0);
  std::sort(centroids.begin(), centroids.end());
  return centroids;
}

// The means of the clusters; `fixed` does not move.
std::vector<double> means(const std::vector<float>& sorted, const std::vector<double>& sums,
                          const std::vector<double>& centroids, size_t fixed) {
  std::vector<double> moved = centroids;
  size_t begin = 0;
  for (size_t k = 0; k < centroids.size(); ++k) {
    size_t end = sorted.size();
    if (k + 1 < centroids.size()) {
      const double limit = midpoint(centroids[k], centroids[k + 1]);
      end = std::upper_bound(sorted.begin() + begin, sorted.end(), limit) - sorted.begin();
    }
    if (end > begin && k != fixed) {
      moved[k] = (sums[end] - sums[begin]) / static_cast<double>(end - begin);
    }
    begin = end;
  }
  return moved;
}

}  // namespace

std::vector<float> kmeans(std::vector<float> values, int count, bool with_zero) {
  if (with_zero) values.erase(std::remove(values.begin(), values.end(), 0.0f), values.end());
  if (values.empty()) return std::vector<float>(count, 0.0f);
  std::sort(values.begin(), values.end());
  const std::vector<double> sums = prefix_sums(values);
  std::vector<double> centroids = spread_evenly(values.front(), values.back(), count, with_zero);
  const size_t fixed = with_zero
                           ? std::find(centroids.begin(), centroids.end(), 0.0) - centroids.begin()
                           : centroids.size();
  for (int i = 0; i < kIterations; ++i) {
    std::vector<double> moved = means(values, sums, centroids, fixed);
    if (moved == centroids) break;
    centroids = std::move(moved);
  }
  return {centroids.begin(), centroids.end()};
}

uint8_t nearest_centroid(const std::vector<float>& centroids, float value) {
  size_t k = 0;
  while (k + 1 < centroids.size() && value > midpoint(centroids[k], centroids[k + 1])) ++k;
  return static_cast<uint8_t>(k);
}

}  // namespace qat::quantizers
