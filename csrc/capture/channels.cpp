#include "capture/channels.h"

namespace qat::capture {
namespace {

// [N, C, ...] -> [N, C * R]: R.
std::optional<int64_t> flattened(const Trace& trace, const TraceNode& node) {
  const auto& from = trace.values[node.inputs()[0]].shape;
  const auto& to = trace.values[node.outputs[0]].shape;
  if (from.size() < 2 || to.size() != 2 || from[0] != to[0]) return std::nullopt;
  constexpr int64_t kAnyBatch = 2;
  return to[1].at(kAnyBatch) / from[1].at(kAnyBatch);
}

bool is_mean_of_positions(const Trace& trace, const TraceNode& node) {
  const auto plain = node.plain_arguments();
  const auto mean =
      parse_mean({node.op.schema(), plain.data()}, trace.values[node.inputs()[0]].rank());
  return mean && mean->axes.front() > 1;
}

std::optional<int64_t> one_if(bool holds) {
  return holds ? std::optional<int64_t>(1) : std::nullopt;
}

}  // namespace

Readers::Readers(const Trace& trace)
    : readers_(trace.values.size()), returned_(trace.values.size(), false) {
  for (size_t i = 0; i < trace.nodes.size(); ++i) {
    for (const int64_t id : trace.nodes[i].inputs()) {
      readers_[id].push_back(static_cast<int64_t>(i));
    }
  }
  for (const int64_t id : trace.outputs) returned_[id] = true;
}

std::optional<int64_t> Readers::only(int64_t value) const {
  if (returned_[value] || readers_[value].size() != 1) return std::nullopt;
  return readers_[value][0];
}

std::optional<int64_t> channels_through(const Trace& trace, const TraceNode& node, bool image,
                                        const std::function<bool(const TraceNode&)>& elementwise) {
  switch (node.kind) {
    case Kind::activation:
    case Kind::unary:
      return one_if(elementwise(node));
    case Kind::prelu:
    case Kind::dropout:
    case Kind::identity:
      return 1;
    case Kind::max_pool:
    case Kind::avg_pool:
    case Kind::adaptive_avg_pool:
      return one_if(image);
    case Kind::mean:
      return one_if(image && is_mean_of_positions(trace, node));
    case Kind::reshape:
      return image ? flattened(trace, node) : std::nullopt;
    default:
      return std::nullopt;
  }
}

}  // namespace qat::capture
