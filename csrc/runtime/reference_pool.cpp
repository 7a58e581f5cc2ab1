// Max, average and adaptive average pools on row-major codes [N, C, spatial...].

#include "numerics/requantize.h"
#include "runtime/parallel.h"
#include "runtime/pooling.h"

namespace qat::runtime {
namespace {

constexpr size_t kMaxSpatial = 3;

Pool with_rank(const Site& site, PoolKind kind, size_t rank) {
  const size_t input_rank = site.input(0).shape.size();
  if (rank < 1 || rank > kMaxSpatial || input_rank != rank + 2) {
    fail(site.node, "needs 1, 2 or 3 spatial axes and an input of two axes more, got " +
                        std::to_string(rank) + " and rank " + std::to_string(input_rank));
  }
  Pool pool;
  pool.kind = kind;
  pool.rank = rank;
  return pool;
}

template <typename Attributes>
void set_windows(const Site& site, const Attributes& a, Pool& pool) {
  if (a.stride.size() != pool.rank || a.padding.size() != pool.rank) {
    fail(site.node, "needs one stride and one padding per spatial axis");
  }
  for (size_t i = 0; i < pool.rank; ++i) {
    Axis& axis = pool.axes[kMaxSpatial - pool.rank + i];
    axis.kernel = a.kernel[i];
    axis.stride = a.stride[i];
    axis.padding = a.padding[i];
  }
  pool.ceil_mode = a.ceil_mode;
}

template <typename Code>
Code max_of_window(const Code* plane, const Pool& pool, const Window& z, const Window& y,
                   const Window& x, Code lowest) {
  Code best = lowest;
  for (int64_t i = z.begin; i < z.end; i += z.step) {
    for (int64_t j = y.begin; j < y.end; j += y.step) {
      const Code* row = plane + (i * pool.axes[1].input + j) * pool.axes[2].input;
      for (int64_t k = x.begin; k < x.end; k += x.step) best = std::max(best, row[k]);
    }
  }
  return best;
}

template <typename Code>
int64_t sum_of_window(const Code* plane, const Pool& pool, const Window& z, const Window& y,
                      const Window& x) {
  int64_t sum = 0;
  for (int64_t i = z.begin; i < z.end; ++i) {
    for (int64_t j = y.begin; j < y.end; ++j) {
      const Code* row = plane + (i * pool.axes[1].input + j) * pool.axes[2].input;
      for (int64_t k = x.begin; k < x.end; ++k) sum += row[k];
    }
  }
  return sum;
}

// element(plane, z, y, x) -> one output; called for every output position of every plane.
template <typename Code, typename Out, typename Element>
void for_each_output(const Pool& pool, const View& input, const View& output, int threads,
                     const Element& element) {
  const int64_t planes = input.shape[0] * input.shape[1];
  const auto& axes = pool.axes;
  const int64_t in_plane = axes[0].input * axes[1].input * axes[2].input;
  const int64_t out_plane = axes[0].output * axes[1].output * axes[2].output;
  parallel_for(threads, planes, kElementGrain / std::max<int64_t>(in_plane, 1),
               [&](int64_t begin, int64_t end) {
                 for (int64_t p = begin; p < end; ++p) {
                   const Code* plane = input.as<Code>() + p * in_plane;
                   Out* out = output.as<Out>() + p * out_plane;
                   for (int64_t z = 0; z < axes[0].output; ++z) {
                     for (int64_t y = 0; y < axes[1].output; ++y) {
                       for (int64_t x = 0; x < axes[2].output; ++x) {
                         *out++ = element(plane, pool.window(0, z), pool.window(1, y),
                                          pool.window(2, x));
                       }
                     }
                   }
                 }
               });
}

// The pool at the sizes of the input; fails if its output is not the graph's.
Pool at_input(const Site& site, const Pool& fixed, TensorType type, const Binding& at) {
  const Sizes& input = at.inputs[0]->shape;
  const Pool pool = at_sizes(fixed, site.node, input.data() + 2);
  Sizes shape(input.begin(), input.begin() + 2);
  for (size_t i = kMaxSpatial - pool.rank; i < kMaxSpatial; ++i) {
    shape.push_back(pool.axes[i].output);
  }
  check_made(site.node, type, shape, *at.output);
  return pool;
}

template <typename Code>
Binder max_pool_binder(const Site& site, const Pool& fixed) {
  return [site, fixed](const Binding& at) -> Bound {
    const Pool pool = at_input(site, fixed, at.inputs[0]->type, at);
    const auto lowest = static_cast<Code>(site.input(0).format.quant_min());
    return [pool, lowest, input = at.inputs[0], output = at.output](int threads, MacCount&) {
      for_each_output<Code, Code>(
          pool, *input, *output, threads,
          [&](const Code* plane, const Window& z, const Window& y, const Window& x) {
            return max_of_window(plane, pool, z, y, x, lowest);
          });
    };
  };
}

template <typename Code>
Binder average_pool_binder(const Site& site, const Pool& fixed) {
  return [site, fixed](const Binding& at) -> Bound {
    const Pool pool = at_input(site, fixed, TensorType::float32, at);
    const numerics::QuantParams params = site.input(0).qparams;
    return [pool, params, input = at.inputs[0], output = at.output](int threads, MacCount&) {
      for_each_output<Code, float>(
          pool, *input, *output, threads,
          [&](const Code* plane, const Window& z, const Window& y, const Window& x) {
            const int64_t count = z.size() * y.size() * x.size();
            if (count == 0) return 0.0f;  // ATen's result for a window of padding alone
            const int64_t sum = sum_of_window(plane, pool, z, y, x) - count * params.zero_point;
            return numerics::average(sum, params.scale, pool.divisor(z, y, x));
          });
    };
  };
}

Binder average_binder(const Site& site, const Pool& pool) {
  if (site.input(0).format.is_signed) return average_pool_binder<int8_t>(site, pool);
  return average_pool_binder<uint8_t>(site, pool);
}

}  // namespace

Pool pool_of(const Site& site, const graph::MaxPoolAttributes& attributes) {
  Pool pool = with_rank(site, PoolKind::max, attributes.kernel.size());
  set_windows(site, attributes, pool);
  if (attributes.dilation.size() != pool.rank) {
    fail(site.node, "needs one dilation per spatial axis");
  }
  for (size_t i = 0; i < pool.rank; ++i) {
    pool.axes[kMaxSpatial - pool.rank + i].dilation = attributes.dilation[i];
  }
  return pool;
}

Pool pool_of(const Site& site, const graph::AvgPoolAttributes& attributes) {
  Pool pool = with_rank(site, PoolKind::average, attributes.kernel.size());
  set_windows(site, attributes, pool);
  pool.count_include_pad = attributes.count_include_pad;
  pool.divisor_override = attributes.divisor_override;
  return pool;
}

Pool pool_of(const Site& site, const graph::AdaptiveAvgPoolAttributes& attributes) {
  Pool pool = with_rank(site, PoolKind::adaptive, attributes.output_size.size());
  for (size_t i = 0; i < pool.rank; ++i) {
    pool.axes[kMaxSpatial - pool.rank + i].output = attributes.output_size[i];
  }
  return pool;
}

Pool at_sizes(Pool pool, const graph::Node& node, const int64_t* spatial) {
  for (size_t i = kMaxSpatial - pool.rank; i < kMaxSpatial; ++i) {
    Axis& axis = pool.axes[i];
    axis.input = *spatial++;
    if (pool.kind == PoolKind::adaptive) continue;
    axis.output = pool_output(axis.input, axis.kernel, axis.stride, axis.padding, axis.dilation,
                              pool.ceil_mode);
    if (axis.output < 1) fail(node, "its window is larger than the padded input");
  }
  return pool;
}

Binder make_max_pool(const Site& site, const graph::MaxPoolAttributes& attributes) {
  const Pool pool = pool_of(site, attributes);
  if (site.input(0).format.is_signed) return max_pool_binder<int8_t>(site, pool);
  return max_pool_binder<uint8_t>(site, pool);
}

Binder make_avg_pool(const Site& site, const graph::AvgPoolAttributes& attributes) {
  return average_binder(site, pool_of(site, attributes));
}

Binder make_adaptive_avg_pool(const Site& site,
                              const graph::AdaptiveAvgPoolAttributes& attributes) {
  return average_binder(site, pool_of(site, attributes));
}

}  // namespace qat::runtime
