#include "runtime/channels_last.h"

#include <array>

#include "runtime/fast_layers.h"
#include "runtime/fast_lookup.h"

namespace qat::runtime {
namespace {

constexpr std::array<int64_t, 4> kPosition{0, 3, 1, 2};  // of axis N, C, H, W in memory

int64_t moved(int64_t axis) { return kPosition[static_cast<size_t>(axis)]; }

std::vector<int64_t> moved_list(const std::vector<int64_t>& by_axis) {
  std::vector<int64_t> result(4);
  for (size_t i = 0; i < 4; ++i) result[static_cast<size_t>(kPosition[i])] = by_axis[i];
  return result;
}

bool spatial_mean(const graph::MeanAttributes& a) { return a.axes == std::vector<int64_t>{2, 3}; }

struct Supported {
  template <typename Attributes>
  bool operator()(const Attributes&) const {
    return false;
  }
  bool operator()(const graph::QuantizeAttributes&) const { return true; }
  bool operator()(const graph::DequantizeAttributes&) const { return true; }
  bool operator()(const graph::BinaryAttributes&) const { return true; }
  bool operator()(const graph::LookupAttributes&) const { return true; }
  bool operator()(const graph::MaxPoolAttributes& a) const { return a.kernel.size() == 2; }
  bool operator()(const graph::AvgPoolAttributes& a) const { return a.kernel.size() == 2; }
  bool operator()(const graph::AdaptiveAvgPoolAttributes& a) const {
    return a.output_size.size() == 2;
  }
  bool operator()(const graph::MeanAttributes& a) const { return spatial_mean(a); }
  bool operator()(const graph::ConcatAttributes&) const { return true; }
  bool operator()(const graph::PadAttributes&) const { return true; }
  bool operator()(const graph::SliceAttributes&) const { return true; }
  bool operator()(const graph::UpsampleNearestAttributes& a) const { return a.factor.size() <= 2; }
};

// Attributes as they read on [N, H, W, C].
struct Rewrite {
  template <typename Attributes>
  void operator()(Attributes&) const {}
  void operator()(graph::ConcatAttributes& a) const { a.axis = moved(a.axis); }
  void operator()(graph::SliceAttributes& a) const { a.axis = moved(a.axis); }
  void operator()(graph::PadAttributes& a) const {
    a.before = moved_list(a.before);
    a.after = moved_list(a.after);
  }
  void operator()(graph::UpsampleNearestAttributes& a) const { a.factor.push_back(1); }
};

// Empty where there is no kernel. The mean over both spatial axes is an adaptive pool to one
// position; without keepdim its bytes are the same.
struct Kernel {
  const Site& site;
  template <typename Attributes>
  Binder operator()(const Attributes&) const {
    return nullptr;
  }
  Binder operator()(const graph::MaxPoolAttributes& a) const { return pool(a); }
  Binder operator()(const graph::AvgPoolAttributes& a) const { return pool(a); }
  Binder operator()(const graph::AdaptiveAvgPoolAttributes& a) const { return pool(a); }
  Binder operator()(const graph::MeanAttributes&) const {
    return pool(graph::AdaptiveAvgPoolAttributes{{1, 1}});
  }
  Binder operator()(const graph::LookupAttributes& a) const { return make_fast_lookup(site, a); }
  template <typename Attributes>
  Binder pool(const Attributes& a) const {
    return make_fast_pool(site, pool_of(site, a));
  }
};

}  // namespace

bool runs_channels_last(const graph::Graph& graph, const graph::Node& node) {
  for (const int64_t input : node.inputs) {
    if (graph.values[static_cast<size_t>(input)].shape.size() != 4) return false;
  }
  return !node.inputs.empty() && std::visit(Supported{}, node.attributes);
}

Binder make_channels_last(const Site& site, std::deque<graph::Node>& rewritten) {
  if (Binder bind = std::visit(Kernel{site}, site.node.attributes)) return bind;
  graph::Node node = site.node;
  if (auto* upsample = std::get_if<graph::UpsampleNearestAttributes>(&node.attributes)) {
    upsample->factor.insert(upsample->factor.begin(), 2 - upsample->factor.size(), 1);
  }
  std::visit(Rewrite{}, node.attributes);
  rewritten.push_back(std::move(node));
  return make_operator({site.model, rewritten.back()});
}

}  // namespace qat::runtime
