#include "insert/chain_saved.h"

#include "insert/compact_chain.h"
#include "insert/nodes_common.h"

namespace qat::insert {

using torch::autograd::variable_list;

namespace {

void save_residual(const Chain& chain, variable_list& saved) {
  if (const Payload* payload = payload_of(chain.residual)) {
    saved[kResidual] = payload->codes->codes;
    saved[kResidualScale] = payload->codes->scale;
    saved[kResidualZeroPoint] = payload->codes->zero_point;
  } else if (chain.residual.defined()) {
    saved[kResidual] = chain.residual.detach();
  } else if (chain.residual_chain != nullptr) {
    const Chain& source = *chain.residual_chain;
    saved[kResidualAcc] = source.acc;
    saved[kResidualMultiplier] = source.multiplier;
    saved[kResidualBias] = source.bias;
    if (source.acc.defined()) return;
    saved[kResidualLayerCodes] = source.layer->codes;
    saved[kResidualLayerWeight] = source.layer->weight;
  }
}

at::Tensor rebuild_residual(const ChainScalars& s, const variable_list& saved) {
  if (s.residual_rebuilt) {
    Chain source;
    source.acc = saved[kResidualAcc];
    source.multiplier = saved[kResidualMultiplier];
    source.bias = saved[kResidualBias];
    source.axis = s.residual_axis;
    source.layer = LayerSource{saved[kResidualLayerCodes], saved[kResidualLayerWeight],
                               s.residual_zero_point, s.residual_geometry};
    return evaluate_residual(source);
  }
  if (!s.residual_is_codes) return saved[kResidual];
  Codes codes{saved[kResidual], s.residual_params, s.residual_format, saved[kResidualScale],
              saved[kResidualZeroPoint]};
  return make_like(codes_payload(std::move(codes)), Nominal::like(saved[kResidual]),
                   saved[kResidual].device());
}

}  // namespace

ChainScalars scalars_of(const Chain& chain, const Codes* to) {
  ChainScalars s{};
  s.axis = chain.axis;
  s.activation = chain.activation;
  s.has_batch_norm = chain.batch_norm.has_value();
  s.through_statistics = s.has_batch_norm && chain.batch_norm->through_statistics;
  if (const Payload* payload = payload_of(chain.residual)) {
    s.residual_is_codes = true;
    s.residual_params = payload->codes->params;
    s.residual_format = payload->codes->format;
  }
  s.quantized = to != nullptr;
  if (to != nullptr) s.format = to->format;
  if (!chain.acc.defined()) {
    s.recomputed = true;
    s.zero_point = chain.layer->zero_point;
    s.geometry = chain.layer->geometry;
  }
  if (!chain.residual.defined() && chain.residual_chain != nullptr) {
    const Chain& source = *chain.residual_chain;
    s.residual_rebuilt = true;
    s.residual_axis = source.axis;
    if (!source.acc.defined()) {
      s.residual_zero_point = source.layer->zero_point;
      s.residual_geometry = source.layer->geometry;
    }
  }
  return s;
}

variable_list tensors_of(const Chain& chain, const Codes* to) {
  variable_list saved(kChainTensors);
  saved[kAcc] = chain.acc;
  saved[kMultiplier] = chain.multiplier;
  saved[kBias] = chain.bias;
  saved[kSlope] = chain.slope;
  if (chain.batch_norm) {
    saved[kXhatMultiplier] = chain.batch_norm->xhat_multiplier;
    saved[kXhatBias] = chain.batch_norm->xhat_bias;
    saved[kGain] = chain.batch_norm->gain;
  }
  if (to != nullptr) {
    saved[kScale] = to->scale;
    saved[kZeroPoint] = to->zero_point;
  }
  if (!chain.acc.defined()) {
    saved[kLayerCodes] = chain.layer->codes;
    saved[kLayerWeight] = chain.layer->weight;
  }
  save_residual(chain, saved);
  return saved;
}

uint32_t drop_undefined(variable_list& tensors) {
  static_assert(kChainTensors <= 32);
  uint32_t kept = 0;
  variable_list defined;
  defined.reserve(tensors.size());
  for (size_t i = 0; i < tensors.size(); ++i) {
    if (!tensors[i].defined()) continue;
    kept |= 1u << i;
    defined.push_back(std::move(tensors[i]));
  }
  tensors = std::move(defined);
  return kept;
}

variable_list restore_undefined(uint32_t kept, variable_list saved) {
  variable_list tensors(kChainTensors);
  size_t next = 0;
  for (size_t i = 0; i < tensors.size(); ++i) {
    if ((kept >> i & 1u) != 0) tensors[i] = std::move(saved[next++]);
  }
  return tensors;
}

Chain rebuild_chain(const ChainScalars& s, const variable_list& saved) {
  Chain chain;
  if (s.recomputed) {
    chain.acc =
        LayerSource{saved[kLayerCodes], saved[kLayerWeight], s.zero_point, s.geometry}.accumulate();
  } else {
    chain.acc = saved[kAcc];
  }
  chain.multiplier = saved[kMultiplier];
  chain.bias = saved[kBias];
  chain.slope = saved[kSlope];
  chain.axis = s.axis;
  chain.activation = s.activation;
  if (s.has_batch_norm) {
    chain.batch_norm = ChainBatchNorm{
        {}, {}, saved[kXhatMultiplier], saved[kXhatBias], saved[kGain], s.through_statistics};
  }
  chain.residual = rebuild_residual(s, saved);
  return chain;
}

}  // namespace qat::insert
