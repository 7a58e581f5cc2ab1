#pragma once
// The sizes of a convolution, shared by the reference loops and the fast kernels.

#include <array>

#include "runtime/operators.h"
#include "runtime/window.h"

namespace qat::runtime {

// One to three spatial axes, filled from the front with axes of size 1.
struct ConvGeometry {
  size_t rank = 2;  // spatial axes of the graph
  std::array<Axis, 3> axes;
  std::array<int64_t, 3> output_padding{};
  bool transposed = false;
  int64_t groups = 1;
  int64_t inputs = 1;   // channels per group
  int64_t outputs = 1;  // channels per group

  int64_t taps() const { return axes[0].kernel * axes[1].kernel * axes[2].kernel; }
  int64_t out_positions() const { return axes[0].output * axes[1].output * axes[2].output; }
  int64_t in_positions() const { return axes[0].input * axes[1].input * axes[2].input; }
  // Multiply-accumulates by the usual count: padding is not deducted.
  int64_t macs(int64_t batch) const {
    const int64_t positions = transposed ? in_positions() : out_positions();
    return batch * groups * inputs * outputs * taps() * positions;
  }
  // The input position that output `o` meets at tap `t`, or -1 for padding.
  int64_t input_position(size_t axis, int64_t o, int64_t t) const {
    const Axis& a = axes[axis];
    int64_t position = o * a.stride - a.padding + t * a.dilation;
    if (transposed) {
      const int64_t reached = o + a.padding - t * a.dilation;
      if (reached < 0 || reached % a.stride != 0) return -1;
      position = reached / a.stride;
    }
    return position >= 0 && position < a.input ? position : -1;
  }
};

// Everything but the input sizes, checked against the weight tensor.
ConvGeometry conv_geometry(const Site& site, const graph::ConvAttributes& attributes);

// The geometry for an input [N, C, spatial...]; fails if an output size is not positive.
ConvGeometry at_sizes(ConvGeometry geometry, const graph::Node& node, const int64_t* spatial);

// Multiplier and bias of a conv or linear node. bias is null when there is none.
struct ChannelScale {
  const float* multiplier = nullptr;
  const float* bias = nullptr;
};
ChannelScale channel_scale(const Site& site, const std::string& multiplier, const std::string& bias,
                           int64_t channels);

}  // namespace qat::runtime
