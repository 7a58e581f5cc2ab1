#pragma once
// Per-channel arguments as the kernels' raw pointers.

#include <vector>

#include "kernels/cuda/kernels.h"
#include "ops/check.h"

namespace qat::ops::cuda {

// Owns the contiguous tensors that the parameters point into.
class Parameters {
 public:
  template <typename T>
  kernels::cuda::PerChannel<T> read(const at::Tensor& tensor) {
    const at::Tensor& kept = kept_.emplace_back(tensor.contiguous());
    return {kept.const_data_ptr<T>(), kept.numel() == 1, T{}};
  }
  template <typename T>
  kernels::cuda::PerChannel<T> read(const OptionalTensor& tensor, T otherwise) {
    if (tensor) return read<T>(*tensor);
    return {nullptr, true, otherwise};
  }
  kernels::cuda::ChannelQuantizer quantizer(const at::Tensor& scale, const at::Tensor& zero_point,
                                            int64_t quant_min, int64_t quant_max) {
    return {read<float>(scale), read<int32_t>(zero_point), static_cast<float>(quant_min),
            static_cast<float>(quant_max)};
  }

 private:
  std::vector<at::Tensor> kept_;
};

}  // namespace qat::ops::cuda
