#pragma once
// How a running range follows the range of a batch.

#include "numerics/arith.h"

namespace qat::kernels {

// momentum 1 keeps the extreme ever seen; below 1 the range moves towards the batch's by that
// share.
QAT_INLINE float follow_minimum(float running, float batch, float momentum) {
  if (momentum >= 1.0f) return batch < running ? batch : running;
  return numerics::add(running, numerics::mul(momentum, numerics::add(batch, -running)));
}

QAT_INLINE float follow_maximum(float running, float batch, float momentum) {
  return -follow_minimum(-running, -batch, momentum);
}

}  // namespace qat::kernels
