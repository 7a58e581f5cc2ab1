#pragma once
// The attributes of every operator by their names in the file: one list for reading and writing.
//
// An archive is called with a name and a member. What is more than a plain number, boolean or list
// has a call of its own: tensor (a key of the tensor section), optional_tensor (the key or null),
// and weight (key, format and true shape).

#include "graph/graph.h"

namespace qat::graph {

template <typename Archive, typename T>
void fields(Archive&, T&) {}  // quantize, dequantize, add, sub, mul: no attributes

template <typename Archive>
void fields(Archive& archive, ConvAttributes& a) {
  archive.weight(a.weight, a.weight_format);
  archive.tensor("multiplier", a.multiplier);
  archive.optional_tensor("bias", a.bias);
  archive("stride", a.stride);
  archive("padding", a.padding);
  archive("dilation", a.dilation);
  archive("output_padding", a.output_padding);
  archive("groups", a.groups);
  archive("transposed", a.transposed);
}

template <typename Archive>
void fields(Archive& archive, LinearAttributes& a) {
  archive.weight(a.weight, a.weight_format);
  archive.tensor("multiplier", a.multiplier);
  archive.optional_tensor("bias", a.bias);
}

template <typename Archive>
void fields(Archive& archive, ActivationAttributes& a) {
  archive("kind", a.activation.kind);
  archive("p0", a.activation.p0);
  archive("p1", a.activation.p1);
  archive.optional_tensor("slope", a.slope);
}

template <typename Archive>
void fields(Archive& archive, AffineAttributes& a) {
  archive.tensor("multiplier", a.multiplier);
  archive.tensor("bias", a.bias);
}

template <typename Archive>
void fields(Archive& archive, MaxPoolAttributes& a) {
  archive("kernel", a.kernel);
  archive("stride", a.stride);
  archive("padding", a.padding);
  archive("dilation", a.dilation);
  archive("ceil_mode", a.ceil_mode);
}

template <typename Archive>
void fields(Archive& archive, AvgPoolAttributes& a) {
  archive("kernel", a.kernel);
  archive("stride", a.stride);
  archive("padding", a.padding);
  archive("ceil_mode", a.ceil_mode);
  archive("count_include_pad", a.count_include_pad);
  archive("divisor_override", a.divisor_override);
}

template <typename Archive>
void fields(Archive& archive, AdaptiveAvgPoolAttributes& a) {
  archive("output_size", a.output_size);
}

template <typename Archive>
void fields(Archive& archive, MeanAttributes& a) {
  archive("axes", a.axes);
  archive("keepdim", a.keepdim);
}

template <typename Archive>
void fields(Archive& archive, LookupAttributes& a) {
  archive.tensor("table", a.table);
}

template <typename Archive>
void fields(Archive& archive, ConcatAttributes& a) {
  archive("axis", a.axis);
}

template <typename Archive>
void fields(Archive& archive, PadAttributes& a) {
  archive("before", a.before);
  archive("after", a.after);
  archive("code", a.code);
}

template <typename Archive>
void fields(Archive& archive, ReshapeAttributes& a) {
  archive("shape", a.shape);
}

template <typename Archive>
void fields(Archive& archive, PermuteAttributes& a) {
  archive("axes", a.axes);
}

template <typename Archive>
void fields(Archive& archive, SliceAttributes& a) {
  archive("axis", a.axis);
  archive("start", a.start);
  archive("stop", a.stop);
  archive("step", a.step);
}

template <typename Archive>
void fields(Archive& archive, UpsampleNearestAttributes& a) {
  archive("factor", a.factor);
}

template <typename Archive>
void fields(Archive& archive, ConstantAttributes& a) {
  archive.tensor("tensor", a.tensor);
}

template <typename Archive>
void fields(Archive& archive, AtenAttributes& a) {
  archive("schema", a.schema);
  archive("arguments", a.arguments);
}

}  // namespace qat::graph
