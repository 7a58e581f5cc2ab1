// Convolution and linear layers.

#include <algorithm>
#include <cstdlib>
#include <limits>

#include "graph/shapes.h"
#include "graph/spelling.h"
#include "graph/validate_node.h"

namespace qat::graph {
namespace {

// Weight codes as [outer][output][inner]: the sum for one output channel runs over outer and inner.
struct WeightLoops {
  int64_t outer, outputs, inner;
};

// The largest sum of |q_w| that one output channel has.
int64_t largest_channel_sum(const int8_t* codes, WeightLoops loops) {
  int64_t largest = 0;
  for (int64_t output = 0; output < loops.outputs; ++output) {
    int64_t sum = 0;
    for (int64_t outer = 0; outer < loops.outer; ++outer) {
      const int8_t* block = codes + (outer * loops.outputs + output) * loops.inner;
      for (int64_t inner = 0; inner < loops.inner; ++inner) sum += std::abs(int{block[inner]});
    }
    largest = std::max(largest, sum);
  }
  return largest;
}

void require_accumulator(const NodeCheck& node, int64_t weight_sum) {
  const numerics::IntFormat format = node.input().format;
  const int64_t zero_point = node.input().qparams.zero_point;
  const int64_t widest = std::max(format.quant_max() - zero_point, zero_point - format.quant_min());
  constexpr int64_t kLargest = std::numeric_limits<int32_t>::max();
  node.require(weight_sum <= kLargest / std::max<int64_t>(widest, 1),
               "the worst-case accumulator must be at most 2147483647, got " +
                   std::to_string(weight_sum) + " * " + std::to_string(widest) +
                   "; use fewer bits for the weight or the input");
}

const Tensor& weight_tensor(const NodeCheck& node, const std::string& name,
                            numerics::IntFormat format) {
  node.require(format.is_signed, "weight_format must be signed, got " + spelling(format));
  node.require(format.bits >= numerics::kMinBits && format.bits <= numerics::kMaxBits,
               "weight_format must have 2 to 8 bits, got " + std::to_string(format.bits));
  const Tensor& weight = node.tensor("weight", name);
  node.require(weight.type == TensorType::int8,
               "weight " + in_quotes(name) + " must be int8, got " + spelling(weight.type));
  const int8_t* codes = weight.data<int8_t>();
  const int8_t* end = codes + weight.numel();
  const int8_t* outside = std::find_if(codes, end, [format](int8_t code) {
    return code < format.quant_min() || code > format.quant_max();
  });
  if (outside != end) {
    node.fail("weight " + in_quotes(name) + " must hold codes of " + spelling(format) + ", got " +
              std::to_string(int{*outside}) + " at element " + std::to_string(outside - codes));
  }
  return weight;
}

void require_channel_tensors(const NodeCheck& node, const std::string& multiplier,
                             const std::string& bias, int64_t channels) {
  node.require_channel_floats("multiplier", multiplier, channels);
  if (!bias.empty()) node.require_channel_floats("bias", bias, channels);
}

void require_conv_lists(const NodeCheck& node, const ConvAttributes& a, size_t axes) {
  node.require_list("stride", a.stride, axes, 1);
  node.require_list("padding", a.padding, axes, 0);
  node.require_list("dilation", a.dilation, axes, 1);
  node.require_list("output_padding", a.output_padding, axes, 0);
  for (size_t i = 0; i < axes; ++i) {
    const int64_t limit = a.transposed ? std::max(a.stride[i], a.dilation[i]) : 1;
    node.require(a.output_padding[i] < limit,
                 "output_padding must be below " + std::to_string(limit) + " on axis " +
                     std::to_string(i) + ", got " + to_text(a.output_padding));
  }
}

struct Channels {
  int64_t in, out;
};

Channels conv_channels(const NodeCheck& node, const ConvAttributes& a, const Tensor& weight) {
  node.require(a.groups >= 1, "groups must be at least 1, got " + std::to_string(a.groups));
  const std::vector<int64_t>& s = weight.shape;
  const Channels channels =
      a.transposed ? Channels{s[0], s[1] * a.groups} : Channels{s[1] * a.groups, s[0]};
  node.require(s[0] >= 1 && s[1] >= 1 && s[0] % a.groups == 0,
               "groups must divide the first size of the weight, got groups " +
                   std::to_string(a.groups) + " and weight " + to_text(s));
  node.require(node.input().shape[1] == Affine{0, channels.in},
               "weight " + to_text(s) + " with groups " + std::to_string(a.groups) + " is for " +
                   std::to_string(channels.in) + " input channels, got input " +
                   to_text(node.input().shape));
  return channels;
}

Shape conv_output_shape(const NodeCheck& node, const ConvAttributes& a, const Tensor& weight,
                        int64_t output_channels) {
  Shape expected = node.input().shape;
  expected[1] = {0, output_channels};
  for (size_t i = 0; i < a.stride.size(); ++i) {
    const Affine input = node.input().shape[i + 2];
    const Window window{weight.shape[i + 2], a.stride[i], a.padding[i], a.dilation[i]};
    node.require(window.kernel >= 1,
                 "the kernel must not be empty, got weight " + to_text(weight.shape));
    node.require(is_constant(input), "sizes of spatial axes must be constant, got input " +
                                         to_text(node.input().shape));
    const int64_t size = a.transposed ? transposed_size(input.constant, window, a.output_padding[i])
                                      : convolution_size(input.constant, window);
    node.require(size >= 1, "the kernel does not fit input " + to_text(node.input().shape));
    expected[i + 2] = {0, size};
  }
  return expected;
}

}  // namespace

void validate_operator(const NodeCheck& node, const ConvAttributes& a) {
  node.require_arity(1);
  node.require_input_type(ElementType::codes);
  node.require_output_type(ElementType::float32);
  const Tensor& weight = weight_tensor(node, a.weight, a.weight_format);
  const size_t rank = weight.shape.size();
  node.require(rank >= 3 && rank <= 5,
               "the weight must have 1 to 3 spatial axes, got shape " + to_text(weight.shape));
  node.require(node.input().shape.size() == rank, "input and weight must have the same rank, got " +
                                                      to_text(node.input().shape) + " and " +
                                                      to_text(weight.shape));
  require_conv_lists(node, a, rank - 2);
  const Channels channels = conv_channels(node, a, weight);
  node.require_output_shape(conv_output_shape(node, a, weight, channels.out));
  require_channel_tensors(node, a.multiplier, a.bias, channels.out);

  const int64_t taps = weight.numel() / (weight.shape[0] * weight.shape[1]);
  int64_t sum = 0;
  if (a.transposed) {
    const int64_t per_group = weight.shape[0] / a.groups;
    for (int64_t group = 0; group < a.groups; ++group) {
      const int8_t* codes = weight.data<int8_t>() + group * per_group * weight.shape[1] * taps;
      sum = std::max(sum, largest_channel_sum(codes, {per_group, weight.shape[1], taps}));
    }
  } else {
    sum = largest_channel_sum(weight.data<int8_t>(), {1, weight.shape[0], weight.shape[1] * taps});
  }
  require_accumulator(node, sum);
}

void validate_operator(const NodeCheck& node, const LinearAttributes& a) {
  node.require_arity(1);
  node.require_input_type(ElementType::codes);
  node.require_output_type(ElementType::float32);
  const Tensor& weight = weight_tensor(node, a.weight, a.weight_format);
  node.require(weight.shape.size() == 2,
               "the weight must have shape [K, C], got " + to_text(weight.shape));
  const Shape& input = node.input().shape;
  node.require(!input.empty() && input.back() == Affine{0, weight.shape[1]},
               "the last size of the input must be " + std::to_string(weight.shape[1]) +
                   " as weight " + to_text(weight.shape) + " demands, got " + to_text(input));
  Shape expected = input;
  expected.back() = {0, weight.shape[0]};
  node.require_output_shape(expected);
  require_channel_tensors(node, a.multiplier, a.bias, weight.shape[0]);
  require_accumulator(
      node, largest_channel_sum(weight.data<int8_t>(), {1, weight.shape[0], weight.shape[1]}));
}

}  // namespace qat::graph
