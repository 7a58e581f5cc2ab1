#include "runtime/conv_geometry.h"

namespace qat::runtime {

ConvGeometry conv_geometry(const Site& site, const graph::ConvAttributes& a) {
  const auto found = site.model.tensors.find(a.weight);
  if (found == site.model.tensors.end()) {
    fail(site.node, "the model has no tensor '" + a.weight + "'");
  }
  const Tensor& weight = found->second;
  const size_t rank = a.stride.size();
  if (weight.type != TensorType::int8 || rank < 1 || rank > 3 || weight.shape.size() != rank + 2 ||
      site.input(0).shape.size() != rank + 2) {
    fail(site.node, "needs 1, 2 or 3 spatial axes and an int8 weight to match, got " +
                        std::to_string(rank) + " and " + to_string(weight.type) +
                        to_string(weight.shape));
  }
  if (a.padding.size() != rank || a.dilation.size() != rank ||
      (a.transposed && a.output_padding.size() != rank)) {
    fail(site.node, "needs one entry per spatial axis in every list");
  }
  ConvGeometry g;
  g.rank = rank;
  g.transposed = a.transposed;
  g.groups = a.groups;
  const int64_t channels = site.input(0).shape[1].constant;
  if (a.groups < 1 || channels % a.groups != 0 || weight.shape[0] % a.groups != 0) {
    fail(site.node, "groups = " + std::to_string(a.groups) + " does not divide its channels");
  }
  g.inputs = channels / a.groups;
  g.outputs = a.transposed ? weight.shape[1] : weight.shape[0] / a.groups;
  if ((a.transposed ? weight.shape[0] / a.groups : weight.shape[1]) != g.inputs) {
    fail(site.node, "weight " + to_string(weight.shape) + " does not fit " +
                        std::to_string(channels) + " input channels in " +
                        std::to_string(a.groups) + " groups");
  }
  for (size_t i = 0; i < rank; ++i) {
    Axis& axis = g.axes[3 - rank + i];
    axis = {1, 1, weight.shape[2 + i], a.stride[i], a.padding[i], a.dilation[i]};
    if (axis.stride < 1 || axis.dilation < 1 || axis.padding < 0) {
      fail(site.node, "strides and dilations must be positive and paddings not negative");
    }
    if (a.transposed) g.output_padding[3 - rank + i] = a.output_padding[i];
  }
  return g;
}

ConvGeometry at_sizes(ConvGeometry g, const graph::Node& node, const int64_t* spatial) {
  for (size_t i = 3 - g.rank; i < 3; ++i) {
    Axis& a = g.axes[i];
    a.input = *spatial++;
    a.output = g.transposed ? transposed_output(a.input, a.kernel, a.stride, a.padding, a.dilation,
                                                g.output_padding[i])
                            : conv_output(a.input, a.kernel, a.stride, a.padding, a.dilation);
    if (a.output < 1 ||
        a.input + 2 * a.padding < (g.transposed ? 1 : a.dilation * (a.kernel - 1) + 1)) {
      fail(node, "its kernel is larger than the padded input");
    }
  }
  return g;
}

ChannelScale channel_scale(const Site& site, const std::string& multiplier, const std::string& bias,
                           int64_t channels) {
  const auto tensor = [&](const std::string& name) {
    return node_tensor(site.model, site.node, name, TensorType::float32, {channels}).data<float>();
  };
  return {tensor(multiplier), bias.empty() ? nullptr : tensor(bias)};
}

}  // namespace qat::runtime
