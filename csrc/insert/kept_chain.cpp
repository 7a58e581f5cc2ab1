#include "insert/kept_chain.h"

#include "insert/compact_chain.h"

namespace qat::insert {
namespace {

// What makes the accumulator again is of no use beside it.
Chain without_history(const Chain& chain) {
  Chain bare = chain;
  bare.source = at::Tensor();
  if (bare.batch_norm) bare.batch_norm->gamma = bare.batch_norm->beta = at::Tensor();
  if (bare.acc.defined()) bare.layer.reset();
  bare.residual_chain.reset();
  bare.compact.reset();
  return bare;
}

}  // namespace

KeptChain::KeptChain(const Chain& chain) : chain_(without_history(chain)) {
  if (const Payload* payload = payload_of(chain.residual)) {
    residual_codes_ = *payload->codes;
    chain_.residual = at::Tensor();
  } else if (chain.residual.defined()) {
    chain_.residual = chain.residual.detach();
  } else if (chain.residual_chain != nullptr) {
    residual_source_ = without_history(*chain.residual_chain);
  }
}

Chain KeptChain::rebuild() const {
  Chain chain = chain_;
  if (!chain.acc.defined()) chain.acc = chain.layer->accumulate();
  if (residual_source_) {
    chain.residual = evaluate_residual(*residual_source_);
  } else if (residual_codes_) {
    const at::Tensor& codes = residual_codes_->codes;
    chain.residual =
        make_like(codes_payload(*residual_codes_), Nominal::like(codes), codes.device());
  }
  return chain;
}

}  // namespace qat::insert
