#pragma once
// The layers of a model whose bits are chosen together, and the recipes that say the choice.

#include <string>
#include <vector>

#include "insert/prepared_model.h"
#include "quantizers/weight_quantizer.h"

namespace qat::train {

constexpr int kMostBits = 8;

struct GroupWeight {
  std::string parameter;
  WeightRecipe recipe;  // with 8 bits
  WeightShape shape;
  int64_t numel() const;
};

// Layers that share a weight have the same bits; so have layers that read the same codes where the
// bits of those are chosen too. Every other layer is alone.
struct BitGroup {
  std::vector<std::string> sites;        // in the order of the forward
  std::vector<std::string> activations;  // sites whose rules set the bits of what the layers read
  std::vector<GroupWeight> weights;      // each once
  int64_t macs = 0;                      // of one sample; padding is not deducted
  bool end = false;                      // holds the first or the last layer

  std::string name() const;  // "conv1", "layer2.0.conv1 + layer2.0.shortcut.0"
  int64_t parameters() const;
  // As the int8 file packs them.
  int64_t bytes(int bits) const;
  // MACs * bits of the weights * bits of what the layers read.
  int64_t bit_operations(int bits) const;
};

// The integer layers of a prepared model. activations: the bits of what they read are chosen too.
std::vector<BitGroup> bit_groups(PreparedModel& model, bool activations);

// The recipe with 8 bits everywhere; its methods, granularities and float sites stay.
Recipe eight_bits(Recipe recipe);
// `base` with rules for the groups that have other bits than 8.
Recipe with_bits(Recipe base, const std::vector<BitGroup>& groups, const std::vector<int>& bits);

}  // namespace qat::train
