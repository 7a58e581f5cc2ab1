#pragma once
// The smallest sum of losses under a budget: a multiple-choice knapsack, solved exactly.

#include <cstddef>
#include <cstdint>
#include <vector>

namespace qat::train {

struct Choice {
  int64_t cost = 0;  // not negative
  double loss = 0;   // finite, of either sign
};

// The index into each layer's choices. Of equal sums of losses the cheaper one; the same input
// gives the same answer. Throws qat::Error naming the smallest possible cost when the budget is
// below it.
std::vector<size_t> choose(const std::vector<std::vector<Choice>>& layers, int64_t budget);

}  // namespace qat::train
