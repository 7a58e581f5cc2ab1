#pragma once
// The arguments of a chain operator as raw pointers for the kernels.

#include "ops/chain.h"
#include "ops/cuda/parameters.h"

namespace qat::ops::cuda {

// Owns what the pointers of chain() refer to.
class ChainView {
 public:
  explicit ChainView(const ChainArguments& arguments,
                     const QuantizerArguments* quantizer = nullptr);
  const kernels::cuda::ChannelChain& chain() const { return chain_; }
  Parameters& parameters() { return parameters_; }

 private:
  void set_residual(const ChainArguments& arguments);

  at::Tensor acc_, residual_;
  Parameters parameters_;
  kernels::cuda::ChannelChain chain_;
};

}  // namespace qat::ops::cuda
