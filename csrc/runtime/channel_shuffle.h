#pragma once
// Reshape, permute, reshape that only reorders channels: one step in either layout.

#include <array>
#include <optional>

#include "runtime/plan.h"
#include "runtime/value_uses.h"

namespace qat::runtime {

// [N, groups, members, H, W] with its two channel axes exchanged.
struct ChannelShuffle {
  int64_t groups = 1, members = 1;
  std::array<int64_t, 3> nodes{};  // indices
};

// The shuffle that starts with node `first`, if it is one and nothing else reads the values
// between.
std::optional<ChannelShuffle> find_shuffle(const graph::Graph& graph, const ValueUses& uses,
                                           int64_t first);

Binder make_channel_shuffle(const graph::Node& node, const ChannelShuffle& shuffle, Layout layout);

}  // namespace qat::runtime
