#include "lower/remove_channels.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <optional>

#include "numerics/activation.h"
#include "numerics/quantize.h"

namespace qat::lower {
namespace {

using namespace graph;

constexpr int64_t kNone = -1;

// One axis of a tensor or value on which channel c takes `block` entries from c * block on.
struct ChannelAxis {
  int64_t axis = 1, block = 1;
};

struct TensorCut {
  std::string name;
  ChannelAxis at;
};
struct ValueCut {
  int64_t value;
  ChannelAxis at;
};

// What loses channels together.
struct Cut {
  std::vector<TensorCut> tensors;
  std::vector<ValueCut> values;
  std::vector<int64_t> reshapes;  // nodes
};

// Entries of `axis` that are left, in order.
std::vector<int64_t> entries_of(const std::vector<int64_t>& channels, int64_t block) {
  std::vector<int64_t> entries;
  for (const int64_t channel : channels) {
    for (int64_t k = 0; k < block; ++k) entries.push_back(channel * block + k);
  }
  return entries;
}

void select(Tensor& tensor, const std::vector<int64_t>& entries, int64_t axis) {
  size_t inner = element_size(tensor.type);
  for (size_t i = axis + 1; i < tensor.shape.size(); ++i) inner *= tensor.shape[i];
  const int64_t size = tensor.shape[axis];
  const int64_t outer = tensor.numel() * static_cast<int64_t>(element_size(tensor.type)) /
                        (size * static_cast<int64_t>(inner));
  std::vector<std::byte> left;
  left.reserve(outer * entries.size() * inner);
  for (int64_t o = 0; o < outer; ++o) {
    for (const int64_t entry : entries) {
      const std::byte* from = tensor.bytes.data() + (o * size + entry) * inner;
      left.insert(left.end(), from, from + inner);
    }
  }
  tensor.bytes = std::move(left);
  tensor.shape[axis] = static_cast<int64_t>(entries.size());
}

class Readers {
 public:
  explicit Readers(const Model& model) : of_value_(model.graph.values.size()) {
    for (size_t i = 0; i < model.graph.nodes.size(); ++i) {
      for (const int64_t value : model.graph.nodes[i].inputs) of_value_[value].push_back(i);
    }
    for (const int64_t value : model.graph.outputs) of_value_[value].push_back(kNone);
  }
  // The node that alone reads `value`, or kNone.
  int64_t only(int64_t value) const {
    return of_value_[value].size() == 1 ? of_value_[value][0] : kNone;
  }

 private:
  std::vector<std::vector<int64_t>> of_value_;
};

// Whether channel `c` of the float vector is 0 (either zero).
bool is_zero(const Tensor& vector, int64_t c) { return vector.data<float>()[c] == 0.0f; }

// Follows the channels of one layer to the layer that reads them.
class Follower {
 public:
  Follower(const Model& model, const Readers& readers, std::vector<int64_t> channels)
      : model_(model), readers_(readers), channels_(std::move(channels)) {}

  // Channels that every operator on the way takes from 0 to 0; none where they have to stay.
  std::optional<Cut> follow(int64_t value, ChannelAxis at) {
    at_ = at;
    cut_.values.push_back({value, at_});
    for (;;) {
      const int64_t index = readers_.only(value);
      if (index == kNone) return std::nullopt;
      const Node& node = model_.graph.nodes[index];
      if (node.inputs.size() != 1) return std::nullopt;
      input_ = value;
      output_ = node.outputs[0];
      if (const auto* conv = std::get_if<ConvAttributes>(&node.attributes)) {
        return conv->groups == 1 && at_.axis == 1 ? read_by(conv->weight, conv->transposed ? 0 : 1)
                                                  : std::nullopt;
      }
      if (const auto* linear = std::get_if<LinearAttributes>(&node.attributes)) {
        const bool last = at_.axis == rank(value) - 1;
        return last ? read_by(linear->weight, 1) : std::nullopt;
      }
      const bool passes = std::visit([this](const auto& a) { return pass(a); }, node.attributes);
      if (!passes) return std::nullopt;
      if (std::holds_alternative<ReshapeAttributes>(node.attributes)) {
        cut_.reshapes.push_back(index);
      }
      value = output_;
      cut_.values.push_back({value, at_});
    }
  }

  // Of those asked for, the channels that can go.
  const std::vector<int64_t>& channels() const { return channels_; }

 private:
  const Value& value(int64_t id) const { return model_.graph.values[id]; }
  int64_t rank(int64_t id) const { return static_cast<int64_t>(value(id).shape.size()); }

  std::optional<Cut> read_by(const std::string& weight, int64_t axis) {
    cut_.tensors.push_back({weight, {axis, at_.block}});
    return channels_.empty() ? std::nullopt : std::optional<Cut>(std::move(cut_));
  }

  template <typename Attributes>
  bool pass(const Attributes&) {
    return false;
  }
  bool pass(const QuantizeAttributes&) { return true; }
  bool pass(const DequantizeAttributes&) { return true; }
  bool pass(const ActivationAttributes& a) {
    if (!a.slope.empty()) {
      if (at_.axis != 1 || at_.block != 1) return false;
      cut_.tensors.push_back({a.slope, {0, 1}});
      return true;
    }
    return numerics::activate(a.activation, 0.0f) == 0.0f;
  }
  bool pass(const AffineAttributes& a) {
    if (at_.axis != 1 || at_.block != 1) return false;
    const Tensor& bias = model_.tensors.at(a.bias);
    std::erase_if(channels_, [&](int64_t c) { return !is_zero(bias, c); });
    cut_.tensors.push_back({a.multiplier, {0, 1}});
    cut_.tensors.push_back({a.bias, {0, 1}});
    return true;
  }
  bool pass(const MaxPoolAttributes&) { return at_.axis == 1; }
  bool pass(const AvgPoolAttributes&) { return at_.axis == 1; }
  bool pass(const AdaptiveAvgPoolAttributes& a) {
    return at_.axis < rank(input_) - static_cast<int64_t>(a.output_size.size());
  }
  bool pass(const MeanAttributes& a) { return a.axes.empty() ? false : a.axes.front() > at_.axis; }
  bool pass(const LookupAttributes& a) {
    const Value& from = value(input_);
    const Tensor& table = model_.tensors.at(a.table);
    const int64_t zero = from.qparams.zero_point - from.format.quant_min();
    const Value& to = value(output_);
    switch (table.type) {
      case TensorType::float32:
        return is_zero(table, zero);
      case TensorType::uint8:
        return table.data<uint8_t>()[zero] == to.qparams.zero_point;
      default:
        return table.data<int8_t>()[zero] == to.qparams.zero_point;
    }
  }
  // [B, C, ...] -> [B, C * ...]
  bool pass(const ReshapeAttributes& a) {
    const Shape& from = value(input_).shape;
    if (at_.axis != 1 || a.shape.size() != 2 || !(a.shape[0] == from[0])) return false;
    for (size_t i = 2; i < from.size(); ++i) {
      if (from[i].per_batch != 0) return false;
      at_.block *= from[i].constant;
    }
    return true;
  }

  const Model& model_;
  const Readers& readers_;
  std::vector<int64_t> channels_;
  ChannelAxis at_;
  int64_t input_ = kNone, output_ = kNone;
  Cut cut_;
};

// Output channels without a weight or a bias.
std::vector<int64_t> zero_channels(const Model& model, const std::string& weight,
                                   const std::string& bias) {
  const Tensor& codes = model.tensors.at(weight);
  const int64_t outputs = codes.shape[0], per_output = codes.numel() / outputs;
  std::vector<int64_t> found;
  for (int64_t c = 0; c < outputs; ++c) {
    const int8_t* row = codes.data<int8_t>() + c * per_output;
    const bool empty = std::all_of(row, row + per_output, [](int8_t code) { return code == 0; });
    if (empty && (bias.empty() || is_zero(model.tensors.at(bias), c))) found.push_back(c);
  }
  if (static_cast<int64_t>(found.size()) == outputs) found.erase(found.begin());
  return found;
}

class Remover {
 public:
  explicit Remover(Model& model) : model_(model), readers_(model) {
    for (const Node& node : model.graph.nodes) count_tensors(node);
  }

  int64_t run() {
    int64_t removed = 0;
    for (Node& node : model_.graph.nodes) {
      if (const auto* conv = std::get_if<ConvAttributes>(&node.attributes)) {
        if (conv->transposed || conv->groups != 1) continue;
        removed += shrink(node, *conv, {1, 1});
      } else if (const auto* linear = std::get_if<LinearAttributes>(&node.attributes)) {
        const auto rank = static_cast<int64_t>(value_shape(node.outputs[0]).size());
        removed += shrink(node, *linear, {rank - 1, 1});
      }
    }
    return removed;
  }

 private:
  Shape& value_shape(int64_t id) { return model_.graph.values[id].shape; }

  void count(const std::string& name) {
    if (!name.empty()) ++users_[name];
  }
  void count_tensors(const Node& node) {
    if (const auto* conv = std::get_if<ConvAttributes>(&node.attributes)) {
      for (const auto* name : {&conv->weight, &conv->multiplier, &conv->bias}) count(*name);
    } else if (const auto* linear = std::get_if<LinearAttributes>(&node.attributes)) {
      for (const auto* name : {&linear->weight, &linear->multiplier, &linear->bias}) count(*name);
    } else if (const auto* affine = std::get_if<AffineAttributes>(&node.attributes)) {
      for (const auto* name : {&affine->multiplier, &affine->bias}) count(*name);
    } else if (const auto* activation = std::get_if<ActivationAttributes>(&node.attributes)) {
      count(activation->slope);
    }
  }

  template <typename Layer>
  int64_t shrink(const Node& node, const Layer& layer, ChannelAxis at) {
    std::vector<int64_t> gone = zero_channels(model_, layer.weight, layer.bias);
    if (gone.empty()) return 0;
    const int64_t channels = model_.tensors.at(layer.weight).shape[0];
    Follower follower(model_, readers_, std::move(gone));
    auto cut = follower.follow(node.outputs[0], at);
    if (!cut) return 0;
    for (const std::string& name : {layer.weight, layer.multiplier, layer.bias}) {
      if (!name.empty()) cut->tensors.push_back({name, {0, 1}});
    }
    const auto shared = [this](const TensorCut& tensor) { return users_[tensor.name] > 1; };
    if (std::any_of(cut->tensors.begin(), cut->tensors.end(), shared)) return 0;
    apply(*cut, follower.channels(), channels);
    return static_cast<int64_t>(follower.channels().size());
  }

  void apply(const Cut& cut, const std::vector<int64_t>& gone, int64_t channels) {
    std::vector<int64_t> all(channels), left;
    std::iota(all.begin(), all.end(), 0);
    std::set_difference(all.begin(), all.end(), gone.begin(), gone.end(), std::back_inserter(left));
    for (const TensorCut& tensor : cut.tensors) {
      select(model_.tensors.at(tensor.name), entries_of(left, tensor.at.block), tensor.at.axis);
    }
    for (const ValueCut& value : cut.values) {
      value_shape(value.value)[value.at.axis] = {
          0, static_cast<int64_t>(left.size()) * value.at.block};
    }
    for (const int64_t node : cut.reshapes) {
      Node& reshape = model_.graph.nodes[node];
      std::get<ReshapeAttributes>(reshape.attributes).shape = value_shape(reshape.outputs[0]);
    }
  }

  Model& model_;
  Readers readers_;
  std::map<std::string, int> users_;
};

}  // namespace

int64_t remove_channels(Model& model) { return Remover(model).run(); }

}  // namespace qat::lower
