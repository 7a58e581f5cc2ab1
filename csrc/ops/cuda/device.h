#pragma once
// Where an operator's kernels run: the device of its first tensor and torch's current stream there.

#include <ATen/core/Tensor.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

namespace qat::ops::cuda {

class OnDeviceOf {
 public:
  explicit OnDeviceOf(const at::Tensor& tensor)
      : guard_(tensor.device()), stream_(c10::cuda::getCurrentCUDAStream().stream()) {}
  cudaStream_t stream() const { return stream_; }

 private:
  c10::cuda::CUDAGuard guard_;
  cudaStream_t stream_;
};

}  // namespace qat::ops::cuda
