#pragma once
// What a misspelt word was meant to be.

#include <optional>
#include <string>
#include <vector>

namespace qat {

// The candidate with the smallest edit distance to `word`, if it is near enough to be a slip.
std::optional<std::string> nearest(const std::string& word,
                                   const std::vector<std::string>& candidates);

}  // namespace qat
