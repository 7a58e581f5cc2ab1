#include "runtime/operators.h"

namespace qat::runtime {
namespace {

struct Maker {
  const Site& site;

  Binder operator()(const graph::QuantizeAttributes&) const { return make_quantize(site); }
  Binder operator()(const graph::DequantizeAttributes&) const { return make_dequantize(site); }
  Binder operator()(const graph::ConvAttributes& a) const { return make_conv(site, a); }
  Binder operator()(const graph::LinearAttributes& a) const { return make_linear(site, a); }
  Binder operator()(const graph::ActivationAttributes& a) const { return make_activation(site, a); }
  Binder operator()(const graph::AffineAttributes& a) const { return make_affine(site, a); }
  Binder operator()(const graph::BinaryAttributes& a) const { return make_binary(site, a); }
  Binder operator()(const graph::MaxPoolAttributes& a) const { return make_max_pool(site, a); }
  Binder operator()(const graph::AvgPoolAttributes& a) const { return make_avg_pool(site, a); }
  Binder operator()(const graph::AdaptiveAvgPoolAttributes& a) const {
    return make_adaptive_avg_pool(site, a);
  }
  Binder operator()(const graph::MeanAttributes& a) const { return make_mean(site, a); }
  Binder operator()(const graph::LookupAttributes& a) const { return make_lookup(site, a); }
  Binder operator()(const graph::ConcatAttributes& a) const { return make_concat(site, a); }
  Binder operator()(const graph::PadAttributes& a) const { return make_pad(site, a); }
  Binder operator()(const graph::ReshapeAttributes& a) const { return make_reshape(site, a); }
  Binder operator()(const graph::PermuteAttributes& a) const { return make_permute(site, a); }
  Binder operator()(const graph::SliceAttributes& a) const { return make_slice(site, a); }
  Binder operator()(const graph::UpsampleNearestAttributes& a) const {
    return make_upsample_nearest(site, a);
  }
  Binder operator()(const graph::ConstantAttributes& a) const { return make_constant(site, a); }
  Binder operator()(const graph::AtenAttributes&) const {
    fail(site.node, "has no operator without ATen");
  }
};

}  // namespace

Binder make_operator(const Site& site) { return std::visit(Maker{site}, site.node.attributes); }

}  // namespace qat::runtime
