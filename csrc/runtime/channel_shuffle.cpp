#include "runtime/channel_shuffle.h"

#include <algorithm>

#include "runtime/strided_copy.h"

namespace qat::runtime {
std::optional<ChannelShuffle> find_shuffle(const graph::Graph& graph, const ValueUses& uses,
                                           int64_t first) {
  const auto node = [&](int64_t i) -> const graph::Node& {
    return graph.nodes[static_cast<size_t>(i)];
  };
  const auto shape = [&](int64_t value) -> const graph::Shape& {
    return graph.values[static_cast<size_t>(value)].shape;
  };
  if (!std::holds_alternative<graph::ReshapeAttributes>(node(first).attributes)) return {};
  const graph::Shape& from = shape(node(first).inputs[0]);
  const graph::Shape& split = shape(node(first).outputs[0]);
  if (from.size() != 4 || split.size() != 5 || split[1].per_batch || split[2].per_batch) return {};
  if (from[0] != split[0] || !std::equal(from.begin() + 2, from.end(), split.begin() + 3))
    return {};

  const int64_t second = uses.only_reader(node(first).outputs[0]);
  if (second < 0) return {};
  const auto* permute = std::get_if<graph::PermuteAttributes>(&node(second).attributes);
  if (permute == nullptr || permute->axes != std::vector<int64_t>{0, 2, 1, 3, 4}) return {};
  const int64_t third = uses.only_reader(node(second).outputs[0]);
  if (third < 0 || !std::holds_alternative<graph::ReshapeAttributes>(node(third).attributes) ||
      shape(node(third).outputs[0]) != from) {
    return {};
  }
  return ChannelShuffle{split[1].constant, split[2].constant, {first, second, third}};
}

Binder make_channel_shuffle(const graph::Node& node, const ChannelShuffle& shuffle, Layout layout) {
  return [&node, shuffle, layout](const Binding& at) -> Bound {
    const View &from = *at.inputs[0], &to = *at.output;
    check_made(node, from.type, from.shape, to);
    const Sizes& s = from.shape;
    const int64_t groups = shuffle.groups, members = shuffle.members, channels = groups * members;
    const bool last = layout == Layout::channels_last;
    if (s.at(last ? 3 : 1) != channels) {
      fail(node, "splits " + std::to_string(s[last ? 3 : 1]) + " channels into " +
                     std::to_string(groups) + " groups of " + std::to_string(members));
    }
    const int64_t outer = last ? s[0] * s[1] * s[2] : s[0], inner = last ? 1 : s[2] * s[3];
    const StridedCopy copy(graph::element_size(from.type), {outer, members, groups, inner},
                           {{channels * inner, groups * inner, inner, 1}, 0},
                           {{channels * inner, inner, members * inner, 1}, 0});
    return [copy, &from, &to](int threads, MacCount&) { copy.run(to.data, from.data, threads); };
  };
}

}  // namespace qat::runtime
