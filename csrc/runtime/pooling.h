#pragma once
// What the row-major and the channels-last pools share: geometry and divisor.

#include <array>
#include <functional>

#include "runtime/operators.h"
#include "runtime/window.h"

namespace qat::runtime {

enum class PoolKind { max, average, adaptive };

// A pool over up to three spatial axes, filled from the front with axes of size 1.
struct Pool {
  PoolKind kind = PoolKind::max;
  size_t rank = 0;  // spatial axes of the graph
  std::array<Axis, 3> axes;
  bool ceil_mode = false;
  bool count_include_pad = true;
  int64_t divisor_override = 0;

  Window window(size_t axis, int64_t output) const {
    if (kind == PoolKind::max) return max_window(axes[axis], output);
    if (kind == PoolKind::average) return average_window(axes[axis], output);
    return adaptive_window(axes[axis], output);
  }
  int64_t divisor(const Window& z, const Window& y, const Window& x) const {
    if (divisor_override != 0) return divisor_override;
    if (count_include_pad) return z.padded_size * y.padded_size * x.padded_size;
    return z.size() * y.size() * x.size();
  }
};

Pool pool_of(const Site& site, const graph::MaxPoolAttributes& attributes);
Pool pool_of(const Site& site, const graph::AvgPoolAttributes& attributes);
Pool pool_of(const Site& site, const graph::AdaptiveAvgPoolAttributes& attributes);

// The pool with the sizes of an input whose spatial axes are `spatial`.
Pool at_sizes(Pool pool, const graph::Node& node, const int64_t* spatial);

}  // namespace qat::runtime
