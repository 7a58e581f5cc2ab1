#pragma once
// What the node of a chain's end keeps from forward to backward: Note [Two nodes per layer].

#include <optional>

#include "insert/nodes_common.h"

namespace qat::insert {

template <typename F>
void visit_tensors(Chain& chain, F&& f) {
  f(chain.acc), f(chain.multiplier), f(chain.bias), f(chain.slope), f(chain.residual);
  if (chain.batch_norm) {
    f(chain.batch_norm->xhat_multiplier), f(chain.batch_norm->xhat_bias);
    f(chain.batch_norm->gain);
  }
  if (chain.layer) f(chain.layer->codes), f(chain.layer->weight);
}

// A chain without its history, in parts that hold nothing but tensors and plain values.
class KeptChain {
 public:
  explicit KeptChain(const Chain& chain);
  template <typename F>
  void tensors(F&& f) {
    visit_tensors(chain_, f);
    if (residual_codes_) visit_tensors(*residual_codes_, f);
    if (residual_source_) visit_tensors(*residual_source_, f);
  }
  // Those that share memory with what the model holds, or are of the size of an activation.
  template <typename F>
  void tensors_in_use(F&& f) {
    f(chain_.acc), f(chain_.bias), f(chain_.slope), f(chain_.residual);
    if (residual_codes_) f(residual_codes_->codes);
  }
  // The chain again, but for what only its forward needed.
  Chain rebuild() const;

 private:
  Chain chain_;
  std::optional<Codes> residual_codes_;   // where the residual is codes
  std::optional<Chain> residual_source_;  // where a real residual is made again
};

}  // namespace qat::insert
