#include "lower/lower_codes.h"

#include "error.h"
#include "lower/aten_node.h"
#include "numerics/quantize.h"

namespace qat::lower {
namespace {

using capture::Kind;
using graph::Affine;
using graph::Shape;

Affine plus(const Affine& a, const Affine& b) {
  return {a.per_batch + b.per_batch, a.constant + b.constant};
}

class CodesLowering {
 public:
  CodesLowering(Builder& build, int64_t index)
      : build_(build),
        index_(index),
        node_(build.trace().nodes[index]),
        plain_(node_.plain_arguments()),
        arguments_(node_.op.schema(), plain_.data()) {}

  void run() {
    const int64_t spatial = in_shape().size() - 2;
    switch (node_.kind) {
      case Kind::max_pool:
        return move(capture::parse_max_pool(arguments_, spatial));
      case Kind::avg_pool:
        return average(capture::parse_avg_pool(arguments_, spatial));
      case Kind::adaptive_avg_pool:
        return average(
            graph::AdaptiveAvgPoolAttributes{capture::parse_adaptive(arguments_, spatial)});
      case Kind::mean:
        return average(*capture::parse_mean(arguments_, static_cast<int64_t>(in_shape().size())));
      case Kind::concat:
        return move(graph::ConcatAttributes{capture::wrap_axis(
            arguments_.get("dim").toInt(), static_cast<int64_t>(in_shape().size()))});
      case Kind::reshape:
        return move(graph::ReshapeAttributes{out_shape(0)});
      case Kind::permute:
        return move(graph::PermuteAttributes{permutation()});
      case Kind::pad:
        return pad();
      case Kind::slice:
        return slice();
      case Kind::split:
        return split();
      case Kind::upsample_nearest:
        return upsample();
      default:
        throw Error("convert: '" + node_.name + "' (" + node_.stem + ") cannot be lowered.");
    }
  }

 private:
  const Shape& in_shape() const { return build_.trace().values[node_.inputs()[0]].shape; }
  const Shape& out_shape(size_t k) const { return build_.trace().values[node_.outputs[k]].shape; }
  int quantizer(size_t k) const { return build_.plan().value_quantizer[node_.outputs[k]]; }

  void average(graph::Attributes attributes) {
    const int64_t real = build_.new_real(node_.outputs[0], node_.name + ".value");
    build_.add(node_.name, std::move(attributes), {build_.codes_operand(index_, 0)}, {real});
    build_.set_real(node_.outputs[0], real);
  }

  // A layout operator, on codes where the plan holds codes, else on reals.
  void move(graph::Attributes attributes, size_t k = 0) {
    std::vector<int64_t> inputs;
    for (const int64_t id : node_.inputs()) inputs.push_back(operand(id, k));
    const int64_t made = result(k);
    build_.add(node_.name, std::move(attributes), std::move(inputs), {made});
    store(k, made);
  }

  int64_t operand(int64_t id, size_t k) {
    return quantizer(k) == insert::kNoQuantizer ? build_.as_real(id)
                                                : build_.as_codes(id, quantizer(k));
  }
  int64_t result(size_t k) {
    const int64_t id = node_.outputs[k];
    const std::string name = k == 0 ? node_.name : node_.name + ":" + std::to_string(k);
    return quantizer(k) == insert::kNoQuantizer ? build_.new_real(id, name)
                                                : build_.new_codes(id, quantizer(k), name);
  }
  void store(size_t k, int64_t made) {
    if (quantizer(k) == insert::kNoQuantizer) {
      build_.set_real(node_.outputs[k], made);
    } else {
      build_.set_codes(node_.outputs[k], made);
    }
  }

  std::vector<int64_t> permutation() const {
    const int64_t rank = static_cast<int64_t>(in_shape().size());
    std::vector<int64_t> axes(rank);
    for (int64_t i = 0; i < rank; ++i) axes[i] = i;
    if (node_.stem == "permute") {
      const auto dims = arguments_.get("dims").toIntVector();
      for (int64_t i = 0; i < rank; ++i) axes[i] = capture::wrap_axis(dims[i], rank);
    } else if (node_.stem == "t") {
      std::reverse(axes.begin(), axes.end());
    } else if (node_.stem == "movedim") {
      const int64_t from = capture::wrap_axis(single(arguments_.get("source")), rank);
      const int64_t to = capture::wrap_axis(single(arguments_.get("destination")), rank);
      axes.erase(axes.begin() + from);
      axes.insert(axes.begin() + to, from);
    } else {  // transpose, swapaxes
      const char* first = node_.stem == "transpose" ? "dim0" : "axis0";
      const char* second = node_.stem == "transpose" ? "dim1" : "axis1";
      std::swap(axes[capture::wrap_axis(arguments_.get(first).toInt(), rank)],
                axes[capture::wrap_axis(arguments_.get(second).toInt(), rank)]);
    }
    return axes;
  }

  static int64_t single(const c10::IValue& value) {
    if (value.isInt()) return value.toInt();
    const auto list = value.toIntVector();
    if (list.size() != 1) throw Error("convert: movedim of several axes cannot be lowered.");
    return list[0];
  }

  const std::vector<Affine>& affine(const char* name) const {
    return node_.arguments[*arguments_.index_of(name)].affine;
  }

  int64_t axis(const char* name) const {
    return capture::wrap_axis(arguments_.get(name).toInt(),
                              static_cast<int64_t>(in_shape().size()));
  }

  // A position along an axis; negative ones count from the end.
  static Affine position(const Affine& given, const Affine& size) {
    const bool from_end = given.per_batch == 0 && given.constant < 0;
    return from_end ? plus(size, given) : given;
  }

  void slice() {
    if (node_.stem == "select") {
      const int64_t at = axis("dim");
      const Affine start = position(affine("index")[0], in_shape()[at]);
      return cut(0, at, start, plus(start, {0, 1}), 1, /*drop_axis=*/true);
    }
    const int64_t at = axis("dim");
    const Affine size = in_shape()[at];
    const bool narrow = node_.stem == "narrow";
    const auto& given = affine("start");
    const Affine start = given.empty() ? Affine{} : position(given[0], size);
    const int64_t step = narrow ? 1 : arguments_.get("step").toInt();
    const Affine count = out_shape(0)[at];
    const Affine reach{count.per_batch * step, (count.constant - 1) * step + 1};
    cut(0, at, start, plus(start, reach), step, /*drop_axis=*/false);
  }

  void split() {
    const int64_t at = axis("dim");
    const bool unbind = node_.stem == "unbind";
    Affine start;
    for (size_t k = 0; k < node_.outputs.size(); ++k) {
      const Affine stop = plus(start, unbind ? Affine{0, 1} : out_shape(k)[at]);
      cut(k, at, start, stop, 1, unbind);
      start = stop;
    }
  }

  void cut(size_t k, int64_t at, Affine start, Affine stop, int64_t step, bool drop_axis) {
    const int64_t input = operand(node_.inputs()[0], k);
    const graph::SliceAttributes attributes{at, start, stop, step};
    const int64_t made = result(k);
    if (!drop_axis) {
      build_.add(node_.name, attributes, {input}, {made});
    } else {
      graph::Value whole = build_.value(made);
      whole.shape.insert(whole.shape.begin() + at, Affine{0, 1});
      const int64_t kept = build_.new_intermediate(whole.name + ".slice", whole);
      build_.add(node_.name, attributes, {input}, {kept});
      build_.add(node_.name + ".drop", graph::ReshapeAttributes{out_shape(k)}, {kept}, {made});
    }
    store(k, made);
  }

  void pad() {
    const auto call = *capture::parse_pad(arguments_, static_cast<int64_t>(in_shape().size()));
    graph::PadAttributes attributes{call.before, call.after, 0};
    if (quantizer(0) != insert::kNoQuantizer) {
      const insert::Codes codes = build_.target(quantizer(0));
      attributes.code = numerics::quantize(
          static_cast<float>(call.value), numerics::inverse_scale(codes.params.scale),
          static_cast<float>(codes.params.zero_point), static_cast<float>(codes.format.quant_min()),
          static_cast<float>(codes.format.quant_max()));
    } else if (call.value != 0) {
      std::vector<int64_t> reads;
      auto island = aten_attributes(node_, reads);
      const int64_t made = result(0);
      build_.add(node_.name, std::move(island), {build_.as_real(reads[0])}, {made});
      return store(0, made);
    }
    move(attributes);
  }

  void upsample() {
    graph::UpsampleNearestAttributes attributes;
    for (size_t i = 2; i < in_shape().size(); ++i) {
      attributes.factor.push_back(out_shape(0)[i].constant / in_shape()[i].constant);
    }
    move(attributes);
  }

  Builder& build_;
  int64_t index_;
  const capture::TraceNode& node_;
  std::vector<c10::IValue> plain_;
  capture::Arguments arguments_;
};

}  // namespace

void lower_codes(Builder& build, int64_t index) { CodesLowering(build, index).run(); }

}  // namespace qat::lower
