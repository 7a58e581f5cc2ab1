// Rules 8 to 10 on float tensors: activations, channel-wise affine maps, binary operators.

#include "runtime/broadcast.h"
#include "runtime/elementwise_ranges.h"
#include "runtime/operators.h"
#include "runtime/parallel.h"

namespace qat::runtime {
namespace {

// row(x, y, n, channel) handles the elements of one sample's channel: of axis 1.
template <typename Row>
Binder per_channel(const Site& site, const Row& row) {
  return [site, row](const Binding& at) -> Bound {
    const Sizes& shape = at.inputs[0]->shape;
    check_made(site.node, TensorType::float32, shape, *at.output);
    const int64_t rows = shape[0] * shape[1], channels = shape[1];
    const int64_t inner = product({shape.begin() + 2, shape.end()});
    return [=, x = at.inputs[0], y = at.output](int threads, MacCount&) {
      const int64_t grain = kElementGrain / std::max<int64_t>(inner, 1);
      parallel_for(threads, rows, grain, [&](int64_t begin, int64_t end) {
        for (int64_t r = begin; r < end; ++r) {
          row(x->as<float>() + r * inner, y->as<float>() + r * inner, inner, r % channels);
        }
      });
    };
  };
}

int64_t channel_count(const Site& site) {
  const graph::Shape& shape = site.input(0).shape;
  if (shape.size() < 2) fail(site.node, "needs an input of rank 2 or more for its channels");
  return shape[1].constant;
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

struct BroadcastBinary {
  graph::Binary op;
  const View *a, *b, *y;
  Sizes shape, strides_a, strides_b;

  BroadcastBinary(graph::Binary kind, const Binding& at)
      : op(kind), a(at.inputs[0]), b(at.inputs[1]), y(at.output), shape(at.output->shape) {
    if (shape.empty()) shape = {1};
    strides_a = broadcast_strides(a->shape, shape);
    strides_b = broadcast_strides(b->shape, shape);
  }
  void operator()(int threads, MacCount&) const {
    const int64_t inner = shape.back();
    const int64_t rows = inner == 0 ? 0 : y->numel / inner;
    parallel_for(threads, rows, kElementGrain / std::max<int64_t>(inner, 1),
                 [&](int64_t begin, int64_t end) {
                   for (int64_t r = begin; r < end; ++r) {
                     const float* x = a->as<float>() + row_offset(shape, strides_a, r);
                     const float* z = b->as<float>() + row_offset(shape, strides_b, r);
                     combine_range(op, {x, strides_a.back()}, {z, strides_b.back()},
                                   y->as<float>() + r * inner, inner);
                   }
                 });
  }
};

}  // namespace

Binder make_activation(const Site& site, const graph::ActivationAttributes& attributes) {
  const numerics::Activation activation = attributes.activation;
  if (attributes.slope.empty()) {
    return [site, activation](const Binding& at) -> Bound {
      check_made(site.node, TensorType::float32, at.inputs[0]->shape, *at.output);
      return [activation, x = at.inputs[0], y = at.output](int threads, MacCount&) {
        parallel_for(threads, y->numel, kElementGrain, [&](int64_t begin, int64_t end) {
          activate_range(x->as<float>() + begin, y->as<float>() + begin, end - begin, activation);
        });
      };
    };
  }
  const float* slope = node_tensor(site.model, site.node, attributes.slope, TensorType::float32,
                                   {channel_count(site)})
                           .data<float>();
  return per_channel(site, [slope](const float* x, float* y, int64_t n, int64_t channel) {
    prelu_range(x, {slope + channel, 0}, y, n);
  });
}

Binder make_affine(const Site& site, const graph::AffineAttributes& attributes) {
  const Sizes shape{channel_count(site)};
  const auto tensor = [&](const std::string& name) {
    return node_tensor(site.model, site.node, name, TensorType::float32, shape).data<float>();
  };
  return per_channel(site, [gain = tensor(attributes.multiplier), bias = tensor(attributes.bias)](
                               const float* x, float* y, int64_t n, int64_t channel) {
    affine_range(x, {gain + channel, 0}, {bias + channel, 0}, y, n);
  });
}

Binder make_binary(const Site& site, const graph::BinaryAttributes& attributes) {
  return [site, op = attributes.op](const Binding& at) -> Bound {
    const View *a = at.inputs[0], *b = at.inputs[1];
    check_made(site.node, TensorType::float32, broadcast_shape(site.node, a->shape, b->shape),
               *at.output);
    if (a->shape != b->shape) return BroadcastBinary(op, at);
    return [op, a, b, y = at.output](int threads, MacCount&) {
      parallel_for(threads, y->numel, kElementGrain, [&](int64_t begin, int64_t end) {
        combine_range(op, {a->as<float>() + begin, 1}, {b->as<float>() + begin, 1},
                      y->as<float>() + begin, end - begin);
      });
    };
  };
}

}  // namespace qat::runtime
