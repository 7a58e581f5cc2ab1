#pragma once
// Ranges and scales that have come to rest.

#include <ATen/core/Tensor.h>

#include "quantizers/observer.h"

namespace qat {

// The numbers that are seen, one set per training forward, have converged once they have stayed
// near one set of them, the anchor, for kConvergenceSteps forwards. The first that does not is the
// next anchor.
constexpr int64_t kConvergenceSteps = 100;

class Convergence {
 public:
  // threshold: of the change as a share of `unit`; count: how many numbers.
  Convergence(double threshold, int64_t count);
  // numbers, unit: float64, broadcastable.
  void see(const at::Tensor& numbers, const at::Tensor& unit);
  bool reached() const;
  NamedTensors state() const;

 private:
  double threshold_;
  at::Tensor anchor_;  // float64[count]
  at::Tensor steps_;   // int64[1]: forwards since the anchor, 0: there is none
};

}  // namespace qat
