#include "ops/cuda/chain_view.h"

namespace qat::ops::cuda {
namespace {

using kernels::ResidualType;

// Adding -0 returns every float unchanged, +0 too; adding +0 would turn -0 into +0.
constexpr float kNoBias = -0.0f;

}  // namespace

ChainView::ChainView(const ChainArguments& arguments, const QuantizerArguments* quantizer)
    : acc_(to_rows(arguments.acc, arguments.axis)) {
  chain_.acc = acc_.const_data_ptr<float>();
  chain_.count = acc_.numel();
  chain_.channels = acc_.size(-1);
  chain_.multiplier = parameters_.read(arguments.multiplier, 1.0f);
  chain_.bias = parameters_.read(arguments.bias, kNoBias);
  chain_.p0 = parameters_.read(arguments.slope, static_cast<float>(arguments.p0));
  chain_.p1 = static_cast<float>(arguments.p1);
  chain_.activation = static_cast<numerics::ActivationKind>(arguments.activation);
  if (arguments.residual) set_residual(arguments);
  if (quantizer == nullptr) return;
  chain_.quantizer = parameters_.quantizer(quantizer->scale, quantizer->zero_point,
                                           quantizer->quant_min, quantizer->quant_max);
  chain_.quantized = true;
}

void ChainView::set_residual(const ChainArguments& arguments) {
  residual_ = to_rows(*arguments.residual, arguments.axis);
  chain_.residual = residual_.const_data_ptr();
  if (residual_.scalar_type() == at::kFloat) {
    chain_.residual_type = ResidualType::float32;
    return;
  }
  const bool is_signed = residual_.scalar_type() == at::kChar;
  chain_.residual_type = is_signed ? ResidualType::int8 : ResidualType::uint8;
  chain_.residual_scale = parameters_.read<float>(*arguments.residual_scale);
  chain_.residual_zero_point = parameters_.read<int32_t>(*arguments.residual_zero_point);
}

}  // namespace qat::ops::cuda
