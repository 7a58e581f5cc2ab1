#include "ops/cpu/onednn.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/convolution.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>

#include <algorithm>

#include "ops/cpu/packed_weight.h"

namespace qat::ops::onednn {
namespace {

using c10::IValue;

std::optional<c10::OperatorHandle> find(const char* name) {
  return c10::Dispatcher::singleton().findSchema({name, ""});
}

// Boxed, because the C++ types of these operators' parameters differ between torch releases.
at::Tensor call(const c10::OperatorHandle& op, torch::jit::Stack stack) {
  op.callBoxed(&stack);
  return std::move(stack.at(0)).toTensor();
}

bool present() {
  static const bool found = at::globalContext().hasMKLDNN() && find("onednn::qconv_prepack") &&
                            find("onednn::qconv_pointwise");
  return found && at::globalContext().userEnabledMkldnn();
}

// With weight scale 1 and source scale 1 the result is float(acc). One element each, since oneDNN
// broadcasts it: per-channel tensors cost 0.36 ms more to pack for 960 channels.
const at::Tensor& unit_scale() {
  static const auto* one = new at::Tensor(at::ones({1}, at::kFloat));
  return *one;
}

const at::Tensor& zero_points() {
  static const auto* zero = new at::Tensor(at::zeros({1}, at::kLong));
  return *zero;
}

IValue no_scalars() { return c10::List<std::optional<at::Scalar>>(); }

// ATen's copy from channels-last takes 0.7 ns per element.
at::Tensor contiguous_filters(const at::Tensor& weight) {
  if (!weight.is_contiguous(at::MemoryFormat::ChannelsLast) || weight.is_contiguous()) {
    return weight.contiguous();
  }
  auto result = at::empty(weight.sizes(), weight.options());
  const int64_t channels = weight.size(1), taps = weight.size(2) * weight.size(3);
  const int8_t* from = weight.const_data_ptr<int8_t>();
  auto* to = result.mutable_data_ptr<int8_t>();
  const int64_t grain = std::max<int64_t>(1, 32768 / (channels * taps));
  at::parallel_for(0, weight.size(0), grain, [&](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; ++k) {
      const int8_t* filter = from + k * channels * taps;
      int8_t* out = to + k * channels * taps;
      for (int64_t c = 0; c < channels; ++c) {
        for (int64_t t = 0; t < taps; ++t) *out++ = filter[t * channels + c];
      }
    }
  });
  return result;
}

at::Tensor pack_conv(const at::Tensor& codes, int64_t zero_point, const at::Tensor& weight,
                     const ConvGeometry& g) {
  static const auto op = *find("onednn::qconv_prepack");
  return call(op, {contiguous_filters(weight), unit_scale(), 1.0, zero_point, g.stride, g.padding,
                   g.dilation, g.groups, codes.sizes().vec()});
}

std::vector<int64_t> conv_key(const at::Tensor& codes, int64_t zero_point, const ConvGeometry& g) {
  std::vector<int64_t> key = codes.sizes().vec();
  key.push_back(zero_point != 0);  // a packed weight carries sums over its elements only then
  key.push_back(g.groups);
  for (const auto* list : {&g.stride, &g.padding, &g.dilation}) {
    key.insert(key.end(), list->begin(), list->end());
  }
  return key;
}

// 127 everywhere meets 255 everywhere: a pair sums to 64770, beyond int16.
bool conv_probe(int64_t channels, int64_t groups, int64_t zero_point) {
  const auto codes = at::full({1, channels, 6, 6}, 255, at::kByte);
  const auto weight = at::full({channels, channels / groups, 3, 3}, 127, at::kChar);
  const ConvGeometry geometry{{1, 1}, {1, 1}, {1, 1}, groups};
  const auto centred = codes.to(at::kDouble).sub_(static_cast<double>(zero_point));
  const auto expected = at::convolution(centred, weight.to(at::kDouble), {}, {1, 1}, {1, 1}, {1, 1},
                                        false, {0, 0}, groups);
  return conv(codes, zero_point, weight, geometry, weight).to(at::kDouble).equal(expected);
}

bool linear_probe(int64_t channels, int64_t zero_point) {
  const auto codes = at::full({4, channels}, 255, at::kByte);
  const auto weight = at::full({32, channels}, 127, at::kChar);
  const auto centred = codes.to(at::kDouble).sub_(static_cast<double>(zero_point));
  const auto expected = at::linear(centred, weight.to(at::kDouble));
  return linear(codes, zero_point, weight).to(at::kDouble).equal(expected);
}

}  // namespace

bool conv_is_exact() {
  static const bool exact = present() && conv_probe(64, 1, 0) && conv_probe(64, 1, 7) &&
                            conv_probe(16, 1, 7) && conv_probe(3, 1, 7) && conv_probe(32, 2, 7) &&
                            conv_probe(32, 32, 0) && conv_probe(32, 32, 7);
  return exact && present();
}

bool linear_is_exact() {
  static const bool exact =
      present() && linear_probe(64, 0) && linear_probe(64, 7) && linear_probe(19, 7);
  return exact && present();
}

at::Tensor conv(const at::Tensor& codes, int64_t zero_point, const at::Tensor& weight,
                const ConvGeometry& g, const at::Tensor& owner) {
  const auto ready = packed(owner, conv_key(codes, zero_point, g),
                            [&] { return pack_conv(codes, zero_point, weight, g); });
  static const auto op = *find("onednn::qconv_pointwise");
  return call(op, {codes, 1.0, zero_point, ready, unit_scale(), zero_points(), IValue(), g.stride,
                   g.padding, g.dilation, g.groups, 1.0, int64_t{0},
                   static_cast<int64_t>(at::kFloat), "none", no_scalars(), ""});
}

// As a 1x1 convolution: packing 1280 x 1000 takes qlinear_prepack 9.9 ms, qconv_prepack 2.4.
at::Tensor linear(const at::Tensor& codes, int64_t zero_point, const at::Tensor& weight) {
  static const ConvGeometry pointwise{{1, 1}, {0, 0}, {1, 1}, 1};
  const auto image = codes.view({1, codes.size(0), 1, codes.size(1)}).permute({0, 3, 1, 2});
  const auto filters = weight.contiguous().view({weight.size(0), weight.size(1), 1, 1});
  const auto result = conv(image, zero_point, filters, pointwise, weight);
  return result.permute({0, 2, 3, 1}).reshape({codes.size(0), weight.size(0)});
}

}  // namespace qat::ops::onednn
