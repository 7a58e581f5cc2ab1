#include <ATen/ops/empty_like.h>
#include <torch/library.h>

#include "ops/check_quantize.h"
#include "ops/cuda/device.h"
#include "ops/cuda/elements.h"
#include "ops/cuda/parameters.h"
#include "ops/cuda/reduction.h"
#include "ops/stretches.h"

namespace qat::ops::cuda {
namespace {

using ThreeTensors = std::tuple<at::Tensor, at::Tensor, at::Tensor>;

at::Tensor zero_codes(const LearnedArguments& a, const OnDeviceOf& device) {
  const auto learned = a.zero_point.contiguous();
  auto codes = at::empty({learned.numel()}, learned.options().dtype(at::kInt));
  kernels::cuda::learned_zero_codes(
      learned.const_data_ptr<float>(), learned.numel(), static_cast<float>(a.quant_min),
      static_cast<float>(a.quant_max), codes.mutable_data_ptr<int32_t>(), device.stream());
  return codes;
}

at::Tensor fake_quantize_learned(const at::Tensor& x, const at::Tensor& scale,
                                 const at::Tensor& zero_point, int64_t axis, int64_t quant_min,
                                 int64_t quant_max, double grad_scale, bool clipped_only) {
  const LearnedArguments a{x,         scale,     zero_point, axis,
                           quant_min, quant_max, grad_scale, clipped_only};
  check_fake_quantize_learned("fake_quantize_learned", a);
  const OnDeviceOf device(x);
  auto result = at::empty_like(x, x.options().dtype(at::kFloat));
  const auto real = float_like(x, result), codes = zero_codes(a, device);
  Parameters parameters;
  kernels::cuda::fake_quantize(parameters.quantizer(scale, codes, quant_min, quant_max),
                               elements_of(result, axis), real.const_data_ptr<float>(),
                               result.mutable_data_ptr<float>(), device.stream());
  return result.to(x.scalar_type());
}

kernels::cuda::LearnedBlocks blocks_of(const Stretches& s) {
  const kernels::cuda::ColumnBlocks of_stretch{s.tile.channels, s.tile.width, s.blocks.count,
                                               s.blocks.elements, s.length};
  return {of_stretch, s.count, s.channels};
}

ThreeTensors fake_quantize_learned_backward(const at::Tensor& grad, const at::Tensor& x,
                                            const at::Tensor& scale, const at::Tensor& zero_point,
                                            int64_t axis, int64_t quant_min, int64_t quant_max,
                                            double grad_scale, bool clipped_only) {
  const LearnedArguments a{x,         scale,     zero_point, axis,
                           quant_min, quant_max, grad_scale, clipped_only};
  check_fake_quantize_learned_backward(grad, a);
  const OnDeviceOf device(x);
  auto result = at::empty_like(x, x.options().dtype(at::kFloat));
  const auto real = float_like(x, result), gradient = float_like(grad, result);
  auto d_scale = at::empty_like(scale, at::MemoryFormat::Contiguous);
  auto d_zero_point = at::empty_like(zero_point, at::MemoryFormat::Contiguous);
  const auto blocks = blocks_of(cut(memory_layout(result, axis), scale.numel() == 1));
  SumBuffers buffers(blocks.all(), 2, scale.options());
  Parameters parameters;
  kernels::cuda::fake_quantize_learned_backward(
      parameters.quantizer(scale, zero_codes(a, device), quant_min, quant_max), blocks,
      gradient.const_data_ptr<float>(), real.const_data_ptr<float>(), buffers.workspace(),
      {result.mutable_data_ptr<float>(), d_scale.mutable_data_ptr<float>(),
       d_zero_point.mutable_data_ptr<float>(), scale.numel(), grad_scale, clipped_only},
      device.stream());
  return {result.to(x.scalar_type()), d_scale, d_zero_point};
}

}  // namespace

TORCH_LIBRARY_IMPL(qat_ext, CUDA, m) {
  m.impl("fake_quantize_learned", &fake_quantize_learned);
  m.impl("fake_quantize_learned_backward", &fake_quantize_learned_backward);
}

}  // namespace qat::ops::cuda
