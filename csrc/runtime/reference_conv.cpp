// Convolutions of one to three axes, also grouped, dilated and transposed, and linear layers.

#include <memory>

#include "numerics/requantize.h"
#include "runtime/conv_geometry.h"
#include "runtime/parallel.h"

namespace qat::runtime {
namespace {

// Weights as [group][tap][input channel][output channel], widened: the innermost loop runs over
// output channels, one multiply-add per element.
std::vector<int32_t> reorder(const int8_t* weight, const ConvGeometry& g) {
  const int64_t taps = g.taps();
  std::vector<int32_t> result(static_cast<size_t>(g.groups * taps * g.inputs * g.outputs));
  size_t at = 0;
  for (int64_t group = 0; group < g.groups; ++group) {
    for (int64_t tap = 0; tap < taps; ++tap) {
      for (int64_t c = 0; c < g.inputs; ++c) {
        for (int64_t k = 0; k < g.outputs; ++k) {
          const int64_t row = g.transposed ? (group * g.inputs + c) * g.outputs + k
                                           : (group * g.outputs + k) * g.inputs + c;
          result[at++] = weight[row * taps + tap];
        }
      }
    }
  }
  return result;
}

// acc[k] += sum over channels of (x[c] - zero_point) * w[c][k].
template <typename Code>
QAT_INLINE void accumulate_channels(const Code* x, int64_t channel_stride, int32_t zero_point,
                                    const int32_t* w, int64_t inputs, int64_t outputs,
                                    int32_t* acc) {
  for (int64_t c = 0; c < inputs; ++c, w += outputs) {
    const int32_t centred = x[c * channel_stride] - zero_point;
#pragma omp simd
    for (int64_t k = 0; k < outputs; ++k) acc[k] += centred * w[k];
  }
}

// One row of outputs, acc[x][k], for output coordinates (z, y) of one image and group.
template <typename Code>
QAT_INLINE void accumulate_row(const ConvGeometry& g, const Code* image, int32_t zero_point,
                               const int32_t* w, int64_t z, int64_t y, int32_t* acc) {
  const auto& [az, ay, ax] = g.axes;
  const int64_t plane = g.in_positions();
  for (int64_t kz = 0; kz < az.kernel; ++kz) {
    for (int64_t ky = 0; ky < ay.kernel; ++ky) {
      const int64_t iz = g.input_position(0, z, kz), iy = g.input_position(1, y, ky);
      if (iz < 0 || iy < 0) continue;
      const Code* row = image + (iz * ay.input + iy) * ax.input;
      for (int64_t kx = 0; kx < ax.kernel; ++kx) {
        const int64_t tap = (kz * ay.kernel + ky) * ax.kernel + kx;
        for (int64_t x = 0; x < ax.output; ++x) {
          const int64_t ix = g.input_position(2, x, kx);
          if (ix < 0) continue;
          accumulate_channels(row + ix, plane, zero_point, w + tap * g.inputs * g.outputs, g.inputs,
                              g.outputs, acc + x * g.outputs);
        }
      }
    }
  }
}

QAT_MULTIVERSION void conv_row(const ConvGeometry& g, const uint8_t* image, bool is_signed,
                               int32_t zero_point, const int32_t* w, int64_t z, int64_t y,
                               int32_t* acc) {
  std::fill_n(acc, g.axes[2].output * g.outputs, 0);
  if (is_signed) {
    accumulate_row(g, reinterpret_cast<const int8_t*>(image), zero_point, w, z, y, acc);
  } else {
    accumulate_row(g, image, zero_point, w, z, y, acc);
  }
}

float layer_value(int32_t acc, const ChannelScale& scale, int64_t channel) {
  const float value = numerics::to_float(acc);
  if (scale.bias == nullptr) return numerics::mul(value, scale.multiplier[channel]);
  return numerics::real_value(value, scale.multiplier[channel], scale.bias[channel]);
}

struct ReferenceConv {
  Site site;
  ConvGeometry fixed;
  std::vector<int32_t> weight;
  ChannelScale scale;

  // row: index of (image, group, z, y).
  void run_row(const ConvGeometry& g, const View& input, const View& output, int64_t row,
               int32_t* acc) const {
    const auto& [az, ay, ax] = g.axes;
    const int64_t y = row % ay.output, z = row / ay.output % az.output;
    const int64_t slice = row / (ay.output * az.output);  // image * groups + group
    const int64_t group = slice % g.groups;
    const int32_t* w = weight.data() + group * g.taps() * g.inputs * g.outputs;
    const graph::Value& value = site.input(0);
    conv_row(g, input.as<uint8_t>() + slice * g.inputs * g.in_positions(), value.format.is_signed,
             value.qparams.zero_point, w, z, y, acc);
    for (int64_t k = 0; k < g.outputs; ++k) {
      float* out = output.as<float>() + (slice * g.outputs + k) * g.out_positions() +
                   (z * ay.output + y) * ax.output;
      for (int64_t x = 0; x < ax.output; ++x) {
        out[x] = layer_value(acc[x * g.outputs + k], scale, group * g.outputs + k);
      }
    }
  }
};

// A multiply-accumulate of these loops, in those of the fast layers (see Workspace).
constexpr int64_t kPlainWork = 100;

// The layer on fixed views.
struct BoundConv {
  std::shared_ptr<const ReferenceConv> conv;
  ConvGeometry sizes;
  int64_t rows = 0, macs = 0;
  int64_t grain = 1;
  const View *input, *output;
  const Workspace* workspace;
  std::vector<int32_t> sums;  // of one row, per thread; where there is no workspace

  int64_t row_size() const { return sizes.axes[2].output * sizes.outputs; }

  void operator()(int threads, MacCount& count) {
    if (workspace == nullptr) {
      sums.resize(static_cast<size_t>(resolve_threads(threads) * row_size()));
    }
    parallel_for(threads, rows, grain, [&](int64_t begin, int64_t end, int member) {
      int32_t* acc = workspace == nullptr ? sums.data() + member * row_size()
                                          : reinterpret_cast<int32_t*>(workspace->of(member));
      for (int64_t row = begin; row < end; ++row) conv->run_row(sizes, *input, *output, row, acc);
    });
    count.integer += macs;
  }
};

}  // namespace

Binder make_conv(const Site& site, const graph::ConvAttributes& a) {
  const ConvGeometry g = conv_geometry(site, a);
  const Tensor& weight = site.model.tensors.at(a.weight);
  const auto conv = std::make_shared<const ReferenceConv>(
      ReferenceConv{site, g, reorder(weight.data<int8_t>(), g),
                    channel_scale(site, a.multiplier, a.bias, g.groups * g.outputs)});
  return [conv](const Binding& at) -> Bound {
    const Sizes& in = at.inputs[0]->shape;
    const ConvGeometry now = at_sizes(conv->fixed, conv->site.node, in.data() + 2);
    Sizes shape{in[0], now.groups * now.outputs};
    for (size_t i = 3 - now.rank; i < 3; ++i) shape.push_back(now.axes[i].output);
    check_made(conv->site.node, TensorType::float32, shape, *at.output);
    const int64_t rows = in[0] * now.groups * now.axes[0].output * now.axes[1].output;
    const BoundConv bound{conv,      now,          rows, now.macs(in[0]), 1, at.inputs[0],
                          at.output, at.workspace, {}};
    if (at.workspace != nullptr) {
      at.workspace->add_work(bound.macs * kPlainWork);
      at.workspace->require(static_cast<size_t>(bound.row_size()) * sizeof(int32_t));
    }
    return bound;
  };
}

Binder make_linear(const Site& site, const graph::LinearAttributes& a) {
  if (site.input(0).shape.empty() || site.output().shape.empty()) {
    fail(site.node, "needs an input of rank 1 or more");
  }
  ConvGeometry g;
  g.inputs = site.input(0).shape.back().constant;
  g.outputs = site.output().shape.back().constant;
  const Tensor& weight =
      node_tensor(site.model, site.node, a.weight, TensorType::int8, {g.outputs, g.inputs});
  if (g.inputs < 1) fail(site.node, "needs at least one input feature");
  const auto linear = std::make_shared<const ReferenceConv>(
      ReferenceConv{site, g, reorder(weight.data<int8_t>(), g),
                    channel_scale(site, a.multiplier, a.bias, g.outputs)});
  // A convolution of images of one position whose batch is all leading axes.
  return [linear](const Binding& at) -> Bound {
    const ConvGeometry& now = linear->fixed;
    Sizes shape = at.inputs[0]->shape;
    shape.back() = now.outputs;
    check_made(linear->site.node, TensorType::float32, shape, *at.output);
    const int64_t rows = at.inputs[0]->numel / now.inputs;
    return BoundConv{linear, now, rows, now.macs(rows), 16, at.inputs[0], at.output, nullptr, {}};
  };
}

}  // namespace qat::runtime
