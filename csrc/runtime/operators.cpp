#include "runtime/operators.h"

#include <type_traits>

namespace qat::runtime {
namespace {

struct Maker {
  const Site& site;
  const AtenEvaluator& aten;

  Operator operator()(const graph::QuantizeAttributes&) const { return make_quantize(site); }
  Operator operator()(const graph::DequantizeAttributes&) const { return make_dequantize(site); }
  Operator operator()(const graph::ConvAttributes& a) const { return make_conv(site, a); }
  Operator operator()(const graph::LinearAttributes& a) const { return make_linear(site, a); }
  Operator operator()(const graph::ActivationAttributes& a) const {
    return make_activation(site, a);
  }
  Operator operator()(const graph::AffineAttributes& a) const { return make_affine(site, a); }
  Operator operator()(const graph::BinaryAttributes& a) const { return make_binary(site, a); }
  Operator operator()(const graph::MaxPoolAttributes& a) const { return make_max_pool(site, a); }
  Operator operator()(const graph::AvgPoolAttributes& a) const { return make_avg_pool(site, a); }
  Operator operator()(const graph::AdaptiveAvgPoolAttributes& a) const {
    return make_adaptive_avg_pool(site, a);
  }
  Operator operator()(const graph::MeanAttributes& a) const { return make_mean(site, a); }
  Operator operator()(const graph::LookupAttributes& a) const { return make_lookup(site, a); }
  Operator operator()(const graph::ConcatAttributes& a) const { return make_concat(site, a); }
  Operator operator()(const graph::PadAttributes& a) const { return make_pad(site, a); }
  Operator operator()(const graph::ReshapeAttributes& a) const { return make_reshape(site, a); }
  Operator operator()(const graph::PermuteAttributes& a) const { return make_permute(site, a); }
  Operator operator()(const graph::SliceAttributes& a) const { return make_slice(site, a); }
  Operator operator()(const graph::UpsampleNearestAttributes& a) const {
    return make_upsample_nearest(site, a);
  }
  Operator operator()(const graph::ConstantAttributes& a) const { return make_constant(site, a); }
  Operator operator()(const graph::AtenAttributes& a) const { return make_aten(site, a, aten); }
};

}  // namespace

Operator make_operator(const Site& site, const AtenEvaluator& aten) {
  return std::visit(Maker{site, aten}, site.node.attributes);
}

}  // namespace qat::runtime
