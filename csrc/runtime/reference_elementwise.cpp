// Rules 8 to 10 on float tensors: activations, channel-wise affine maps, binary operators.

#include "numerics/activation.h"
#include "numerics/requantize.h"
#include "runtime/operators.h"
#include "runtime/parallel.h"

namespace qat::runtime {
namespace {

using numerics::Activation;
using numerics::ActivationKind;

template <ActivationKind kind>
QAT_INLINE void activate_loop(const float* x, float* y, int64_t n, float p0, float p1) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) y[i] = numerics::activate<kind>(x[i], p0, p1);
}

QAT_MULTIVERSION void activate_range(const float* x, float* y, int64_t n, Activation a) {
  using K = ActivationKind;
  switch (a.kind) {
    case K::none:
      activate_loop<K::none>(x, y, n, a.p0, a.p1);
      break;
    case K::relu:
      activate_loop<K::relu>(x, y, n, a.p0, a.p1);
      break;
    case K::clamp:
      activate_loop<K::clamp>(x, y, n, a.p0, a.p1);
      break;
    case K::leaky_relu:
      activate_loop<K::leaky_relu>(x, y, n, a.p0, a.p1);
      break;
    case K::hardswish:
      activate_loop<K::hardswish>(x, y, n, a.p0, a.p1);
      break;
    case K::hardsigmoid:
      activate_loop<K::hardsigmoid>(x, y, n, a.p0, a.p1);
      break;
  }
}

// A tensor as [outer, channels, inner] around its channel axis.
struct ChannelView {
  int64_t outer = 1, channels = 1, inner = 1;
  ChannelView(const Sizes& shape, int64_t axis) {
    for (size_t i = 0; i < shape.size(); ++i) {
      const auto position = static_cast<int64_t>(i);
      (position < axis ? outer : position == axis ? channels : inner) *= shape[i];
    }
  }
};

// row(x, y, begin, end) handles elements of consecutive (outer, channel) rows.
template <typename Row>
std::vector<Tensor> per_channel(const Tensor& x, int64_t axis, int threads, const Row& row) {
  Tensor y = make_tensor(TensorType::float32, x.shape);
  const ChannelView view(x.shape, axis);
  const float* in = x.data<float>();
  float* out = y.data<float>();
  const int64_t grain = kElementGrain / std::max<int64_t>(view.inner, 1);
  parallel_for(threads, view.outer * view.channels, grain, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      row(in + r * view.inner, out + r * view.inner, view.inner, r % view.channels);
    }
  });
  return only(std::move(y));
}

int64_t channel_count(const Site& site) {
  const graph::Shape& shape = site.input(0).shape;
  if (shape.size() < 2) fail(site.node, "needs an input of rank 2 or more for its channels");
  return shape[1].constant;
}

template <graph::Binary op>
QAT_INLINE float combine(float a, float b) {
  if constexpr (op == graph::Binary::mul) return numerics::mul(a, b);
  if constexpr (op == graph::Binary::sub) return numerics::add(a, -b);
  return numerics::add(a, b);
}

// Strides are 0 or 1: a row of one operand may be a single broadcast element.
template <graph::Binary op>
QAT_INLINE void combine_loop(const float* a, int64_t sa, const float* b, int64_t sb, float* y,
                             int64_t n) {
  if (sa == 1 && sb == 1) {
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) y[i] = combine<op>(a[i], b[i]);
  } else {
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) y[i] = combine<op>(a[i * sa], b[i * sb]);
  }
}

QAT_MULTIVERSION void combine_range(graph::Binary op, const float* a, int64_t sa, const float* b,
                                    int64_t sb, float* y, int64_t n) {
  switch (op) {
    case graph::Binary::add:
      combine_loop<graph::Binary::add>(a, sa, b, sb, y, n);
      break;
    case graph::Binary::sub:
      combine_loop<graph::Binary::sub>(a, sa, b, sb, y, n);
      break;
    case graph::Binary::mul:
      combine_loop<graph::Binary::mul>(a, sa, b, sb, y, n);
      break;
  }
}

Sizes broadcast_shape(const graph::Node& node, const Sizes& a, const Sizes& b) {
  Sizes shape(std::max(a.size(), b.size()), 1);
  for (size_t i = 0; i < shape.size(); ++i) {
    const int64_t from_a = i < a.size() ? a[a.size() - 1 - i] : 1;
    const int64_t from_b = i < b.size() ? b[b.size() - 1 - i] : 1;
    if (from_a != from_b && from_a != 1 && from_b != 1) {
      fail(node, "shapes " + to_string(a) + " and " + to_string(b) + " do not broadcast");
    }
    shape[shape.size() - 1 - i] = from_a == 1 ? from_b : from_a;
  }
  return shape;
}

// Strides of an operand along the axes of the broadcast result: 0 where it is repeated.
Sizes broadcast_strides(const Sizes& operand, const Sizes& shape) {
  const Sizes own = row_major_strides(operand);
  Sizes strides(shape.size(), 0);
  const size_t lead = shape.size() - operand.size();
  for (size_t i = 0; i < operand.size(); ++i) strides[lead + i] = operand[i] == 1 ? 0 : own[i];
  return strides;
}

// Offset of row `index` of the leading axes of `shape` (all but the last).
int64_t row_offset(const Sizes& shape, const Sizes& strides, int64_t index) {
  int64_t offset = 0;
  for (size_t axis = shape.size() - 1; axis-- > 0;) {
    offset += index % shape[axis] * strides[axis];
    index /= shape[axis];
  }
  return offset;
}

Tensor binary_broadcast(const Site& site, graph::Binary op, const Tensor& a, const Tensor& b) {
  Tensor y = make_tensor(TensorType::float32, broadcast_shape(site.node, a.shape, b.shape));
  const Sizes sa = broadcast_strides(a.shape, y.shape);
  const Sizes sb = broadcast_strides(b.shape, y.shape);
  const int64_t inner = y.shape.empty() ? 1 : y.shape.back();
  const int64_t rows = inner == 0 ? 0 : y.numel() / inner;
  parallel_for(site.threads, rows, kElementGrain / std::max<int64_t>(inner, 1),
               [&](int64_t begin, int64_t end) {
                 for (int64_t r = begin; r < end; ++r) {
                   const int64_t at_a = y.shape.empty() ? 0 : row_offset(y.shape, sa, r);
                   const int64_t at_b = y.shape.empty() ? 0 : row_offset(y.shape, sb, r);
                   combine_range(op, a.data<float>() + at_a, sa.empty() ? 0 : sa.back(),
                                 b.data<float>() + at_b, sb.empty() ? 0 : sb.back(),
                                 y.data<float>() + r * inner, inner);
                 }
               });
  return y;
}

}  // namespace

Operator make_activation(const Site& site, const graph::ActivationAttributes& attributes) {
  const Activation activation = attributes.activation;
  if (attributes.slope.empty()) {
    return [site, activation](const Inputs& inputs, int64_t, MacCount&) {
      Tensor y = make_tensor(TensorType::float32, inputs[0]->shape);
      const float* in = inputs[0]->data<float>();
      float* out = y.data<float>();
      parallel_for(site.threads, y.numel(), kElementGrain, [&](int64_t begin, int64_t end) {
        activate_range(in + begin, out + begin, end - begin, activation);
      });
      return only(std::move(y));
    };
  }
  const float* slope = node_tensor(site.model, site.node, attributes.slope, TensorType::float32,
                                   {channel_count(site)})
                           .data<float>();
  return [site, activation, slope](const Inputs& inputs, int64_t, MacCount&) {
    const auto row = [&](const float* x, float* y, int64_t n, int64_t channel) {
      activate_range(x, y, n, {activation.kind, slope[channel], activation.p1});
    };
    return per_channel(*inputs[0], site.channel_axis, site.threads, row);
  };
}

Operator make_affine(const Site& site, const graph::AffineAttributes& attributes) {
  const Sizes shape{channel_count(site)};
  const auto tensor = [&](const std::string& name) {
    return node_tensor(site.model, site.node, name, TensorType::float32, shape).data<float>();
  };
  return [site, gain = tensor(attributes.multiplier), bias = tensor(attributes.bias)](
             const Inputs& inputs, int64_t, MacCount&) {
    const auto row = [&](const float* x, float* y, int64_t n, int64_t channel) {
      for (int64_t i = 0; i < n; ++i) {
        y[i] = numerics::real_value(x[i], gain[channel], bias[channel]);
      }
    };
    return per_channel(*inputs[0], site.channel_axis, site.threads, row);
  };
}

Operator make_binary(const Site& site, const graph::BinaryAttributes& attributes) {
  return [site, op = attributes.op](const Inputs& inputs, int64_t, MacCount&) {
    const Tensor& a = *inputs[0];
    const Tensor& b = *inputs[1];
    if (a.shape != b.shape) return only(binary_broadcast(site, op, a, b));
    Tensor y = make_tensor(TensorType::float32, a.shape);
    parallel_for(site.threads, y.numel(), kElementGrain, [&](int64_t begin, int64_t end) {
      combine_range(op, a.data<float>() + begin, 1, b.data<float>() + begin, 1,
                    y.data<float>() + begin, end - begin);
    });
    return only(std::move(y));
  };
}

}  // namespace qat::runtime
