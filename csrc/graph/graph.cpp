#include "graph/graph.h"

#include "graph/spelling.h"

namespace qat::graph {
namespace {

struct OperatorName {
  const char* operator()(const QuantizeAttributes&) const { return "quantize"; }
  const char* operator()(const DequantizeAttributes&) const { return "dequantize"; }
  const char* operator()(const ConvAttributes&) const { return "conv"; }
  const char* operator()(const LinearAttributes&) const { return "linear"; }
  const char* operator()(const ActivationAttributes&) const { return "activation"; }
  const char* operator()(const AffineAttributes&) const { return "affine"; }
  const char* operator()(const BinaryAttributes& a) const { return spelling(a.op); }
  const char* operator()(const MaxPoolAttributes&) const { return "max_pool"; }
  const char* operator()(const AvgPoolAttributes&) const { return "avg_pool"; }
  const char* operator()(const AdaptiveAvgPoolAttributes&) const { return "adaptive_avg_pool"; }
  const char* operator()(const MeanAttributes&) const { return "mean"; }
  const char* operator()(const LookupAttributes&) const { return "lookup"; }
  const char* operator()(const ConcatAttributes&) const { return "concat"; }
  const char* operator()(const PadAttributes&) const { return "pad"; }
  const char* operator()(const ReshapeAttributes&) const { return "reshape"; }
  const char* operator()(const PermuteAttributes&) const { return "permute"; }
  const char* operator()(const SliceAttributes&) const { return "slice"; }
  const char* operator()(const UpsampleNearestAttributes&) const { return "upsample_nearest"; }
  const char* operator()(const ConstantAttributes&) const { return "constant"; }
  const char* operator()(const AtenAttributes&) const { return "aten"; }
};

template <size_t i = 0>
std::optional<Attributes> alternative_named(const std::string& name) {
  if constexpr (i < std::variant_size_v<Attributes>) {
    Attributes attributes{std::in_place_index<i>};
    if (operator_name(attributes) == name) return attributes;
    return alternative_named<i + 1>(name);
  } else {
    return std::nullopt;
  }
}

}  // namespace

const char* operator_name(const Attributes& attributes) {
  return std::visit(OperatorName{}, attributes);
}

std::optional<Attributes> default_attributes(const std::string& name) {
  for (const Binary op : {Binary::add, Binary::sub, Binary::mul}) {
    if (name == spelling(op)) return BinaryAttributes{op};
  }
  return alternative_named(name);
}

}  // namespace qat::graph
