#pragma once
// k-means of numbers.

#include <cstdint>
#include <vector>

namespace qat::quantizers {

// `count` centroids in ascending order: Lloyd's algorithm (1982) from centroids spread evenly from
// the smallest to the largest value, which keeps the few large weights (Han et al., ICLR 2016,
// section 3.2). A value midway between two centroids belongs to the lower one; a centroid without
// values stays where it is. Double precision in one fixed order. with_zero: one centroid is 0 and
// does not move, and values that are 0 have no say. values: finite.
std::vector<float> kmeans(std::vector<float> values, int count, bool with_zero);

// Index of the nearest centroid, the lower one of equals. centroids: ascending.
uint8_t nearest_centroid(const std::vector<float>& centroids, float value);

}  // namespace qat::quantizers
