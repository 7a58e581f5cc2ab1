#pragma once
// Which layers are pruned and clustered, and which combinations with other keys make sense.

#include <optional>
#include <string>

#include "quantizers/recipe.h"
#include "quantizers/weight_quantizer.h"

namespace qat {

// Throws qat::Error naming the keys that cannot be had together.
void check_compression(const Recipe& recipe);

// What the rules that match a site say; the last of them.
struct SiteRules {
  std::optional<bool> prune, cluster;
};

// What is done with one layer.
struct SiteCompression {
  PruneMethod prune = PruneMethod::none;
  int values = 0;  // of the codebook; 0: none
  bool operator==(const SiteCompression&) const = default;
  // The keys allow it; whether channels may go is a question to the graph.
  static SiteCompression of(const Recipe& recipe, const SiteRules& rules, const std::string& site,
                            const WeightRecipe& weight, const WeightShape& shape);
};

}  // namespace qat
