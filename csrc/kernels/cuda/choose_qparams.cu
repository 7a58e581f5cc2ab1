// Rule 5 of docs/numerics.md.

#include "kernels/cuda/kernels.h"
#include "kernels/cuda/launch.cuh"

namespace qat::kernels::cuda {
namespace {

constexpr int32_t kNan = 0x7fc00000;

__global__ void __launch_bounds__(kThreads) choose(RangeFormat f, const float* lo, const float* hi,
                                                   int64_t n, float* scale, int32_t* zero_point) {
  const bool refuses_negative = f.symmetry == numerics::Symmetry::symmetric && !f.format.is_signed;
  for (int64_t i = first_item(); i < n; i += item_step()) {
    const auto q = numerics::choose_qparams(lo[i], hi[i], f.format, f.symmetry, f.power_of_two);
    scale[i] = refuses_negative && lo[i] < 0.0f ? __int_as_float(kNan) : q.scale;
    zero_point[i] = q.zero_point;
  }
}

}  // namespace

void choose_qparams(const RangeFormat& format, const float* lo, const float* hi, int64_t n,
                    float* scale, int32_t* zero_point, cudaStream_t stream) {
  launch("choose_qparams", choose, n, stream, format, lo, hi, n, scale, zero_point);
}

}  // namespace qat::kernels::cuda
