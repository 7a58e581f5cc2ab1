#pragma once
// The codes of a chain: in one pass over memory, or in a pass per step.

#include <vector>

#include "insert/nodes.h"

namespace qat::insert {

// Reports the range where `to` wants it observed.
at::Tensor chain_codes(const Chain& chain, const QuantizeTo& to);

// Note [One bit per element]
// Where nothing but the quantizer bends the gradient, backward needs rule 4 alone. Its bits are
// written beside the codes, and neither the accumulator nor the real values are kept. A chain with
// a multiplier is evaluated to reals for that first: rule 7 rounds there in any case.
bool bent_by_quantizer_alone(const Chain& chain, const QuantizeTo& to);
struct MaskedCodes {
  at::Tensor codes, mask;
};
MaskedCodes masked_codes(const Chain& chain, const QuantizeTo& to);
// What a derivative keeps of them.
struct KeptMask {
  at::Tensor mask;
  std::vector<int64_t> stride;  // of the codes
  explicit KeptMask(const MaskedCodes& masked);
  template <typename F>
  void tensors(F&& f) {
    f(mask);
  }
  at::Tensor through(const at::Tensor& grad) const;
};

}  // namespace qat::insert
