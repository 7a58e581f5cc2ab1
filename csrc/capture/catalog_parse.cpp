// From a call's arguments to attributes, whatever the overload.

#include <limits>

#include "capture/catalog.h"

namespace qat::capture {
namespace {

float scalar_or(const c10::IValue* value, float fallback) {
  if (value == nullptr || value->isNone()) return fallback;
  return static_cast<float>(value->toScalar().toDouble());
}

std::optional<size_t> present(const Arguments& arguments, std::string_view name) {
  const auto index = arguments.index_of(name);
  if (!index || arguments.at(*index).isNone()) return std::nullopt;
  const auto& value = arguments.at(*index);
  if (value.isTensor() && !value.toTensor().defined()) return std::nullopt;
  return index;
}

// padding="same": half of the dilated kernel's surplus on either side, if it halves.
std::string same_padding(insert::ConvGeometry& geometry, at::IntArrayRef weight_sizes) {
  for (size_t i = 0; i < geometry.padding.size(); ++i) {
    const int64_t total = geometry.dilation[i] * (weight_sizes[i + 2] - 1);
    if (total % 2 != 0) return "padding='same' with an even kernel pads unevenly";
    geometry.padding[i] = total / 2;
  }
  return {};
}

}  // namespace

ConvCall parse_conv(const Arguments& arguments, int64_t input_rank, at::IntArrayRef weight_sizes) {
  ConvCall call;
  call.bias = present(arguments, "bias");
  const int64_t spatial = static_cast<int64_t>(weight_sizes.size()) - 2;
  auto& g = call.geometry;
  if (input_rank != spatial + 2) {
    call.unsupported = "its input has no batch axis";
    return call;
  }
  g.stride = spatial_list(arguments.get("stride"), spatial);
  g.dilation = spatial_list(arguments.get("dilation"), spatial);
  g.groups = arguments.get("groups").toInt();
  const auto& name = arguments.schema().name();
  const auto* transposed = arguments.find("transposed");
  g.transposed =
      transposed != nullptr ? transposed->toBool() : name.find("transpose") != std::string::npos;
  const auto* output_padding = arguments.find("output_padding");
  g.output_padding = output_padding != nullptr ? spatial_list(*output_padding, spatial)
                                               : std::vector<int64_t>(spatial, 0);
  const auto& padding = arguments.get("padding");
  if (padding.isString()) {
    g.padding.assign(spatial, 0);
    if (padding.toStringRef() == "same") call.unsupported = same_padding(g, weight_sizes);
  } else {
    g.padding = spatial_list(padding, spatial);
  }
  return call;
}

LinearCall parse_linear(const Arguments& arguments) {
  LinearCall call;
  const std::string& name = arguments.schema().name();
  if (name == "aten::linear") {
    call.bias = present(arguments, "bias");
  } else if (name == "aten::addmm") {
    call = {1, 2, 0, true, {}};
    const bool scaled = arguments.get("beta").toScalar().toDouble() != 1.0 ||
                        arguments.get("alpha").toScalar().toDouble() != 1.0;
    if (scaled) call.unsupported = "addmm with beta or alpha other than 1";
  } else {  // mm, matmul
    call.weight_transposed = true;
  }
  return call;
}

numerics::Activation parse_activation(const Arguments& arguments, const std::string& stem) {
  using numerics::ActivationKind;
  constexpr float kLimit = std::numeric_limits<float>::max();
  if (stem == "relu") return {ActivationKind::relu};
  if (stem == "relu6") return {ActivationKind::clamp, 0.0f, 6.0f};
  if (stem == "hardtanh") {
    return {ActivationKind::clamp, scalar_or(arguments.find("min_val"), -1.0f),
            scalar_or(arguments.find("max_val"), 1.0f)};
  }
  if (stem == "leaky_relu") {
    return {ActivationKind::leaky_relu, scalar_or(arguments.find("negative_slope"), 0.01f)};
  }
  if (stem == "hardswish") return {ActivationKind::hardswish};
  if (stem == "hardsigmoid") return {ActivationKind::hardsigmoid};
  return {ActivationKind::clamp, scalar_or(arguments.find("min"), -kLimit),
          scalar_or(arguments.find("max"), kLimit)};
}

std::optional<graph::Binary> parse_binary(const Arguments& arguments, const std::string& stem) {
  const auto* alpha = arguments.find("alpha");
  if (alpha != nullptr && alpha->toScalar().toDouble() != 1.0) return std::nullopt;
  if (stem == "add") return graph::Binary::add;
  return stem == "sub" ? graph::Binary::sub : graph::Binary::mul;
}

graph::MaxPoolAttributes parse_max_pool(const Arguments& arguments, int64_t spatial) {
  graph::MaxPoolAttributes a;
  a.kernel = spatial_list(arguments.get("kernel_size"), spatial);
  a.stride = spatial_list(arguments.get("stride"), spatial);
  if (a.stride.empty()) a.stride = a.kernel;
  a.padding = spatial_list(arguments.get("padding"), spatial);
  a.dilation = spatial_list(arguments.get("dilation"), spatial);
  a.ceil_mode = arguments.get("ceil_mode").toBool();
  return a;
}

graph::AvgPoolAttributes parse_avg_pool(const Arguments& arguments, int64_t spatial) {
  graph::AvgPoolAttributes a;
  a.kernel = spatial_list(arguments.get("kernel_size"), spatial);
  a.stride = spatial_list(arguments.get("stride"), spatial);
  if (a.stride.empty()) a.stride = a.kernel;
  a.padding = spatial_list(arguments.get("padding"), spatial);
  a.ceil_mode = arguments.get("ceil_mode").toBool();
  a.count_include_pad = arguments.get("count_include_pad").toBool();
  const auto* divisor = arguments.find("divisor_override");
  if (divisor != nullptr && !divisor->isNone()) a.divisor_override = divisor->toInt();
  return a;
}

std::vector<int64_t> parse_adaptive(const Arguments& arguments, int64_t spatial) {
  return spatial_list(arguments.get("output_size"), spatial);
}

std::optional<graph::MeanAttributes> parse_mean(const Arguments& arguments, int64_t rank) {
  const auto& axes = arguments.get("dim");
  if (axes.isNone() || !arguments.get("dtype").isNone()) return std::nullopt;
  graph::MeanAttributes a;
  for (const int64_t axis : axes.toIntVector()) a.axes.push_back(wrap_axis(axis, rank));
  if (a.axes.empty()) return std::nullopt;
  std::sort(a.axes.begin(), a.axes.end());
  a.keepdim = arguments.get("keepdim").toBool();
  return a;
}

std::optional<PadCall> parse_pad(const Arguments& arguments, int64_t rank) {
  const auto* mode = arguments.find("mode");
  if (mode != nullptr && mode->toStringRef() != "constant") return std::nullopt;
  const auto amounts = arguments.get("pad").toIntVector();
  PadCall call;
  call.before.assign(rank, 0);
  call.after.assign(rank, 0);
  for (size_t i = 0; i + 1 < amounts.size(); i += 2) {  // pairs, from the last axis backwards
    const int64_t axis = rank - 1 - static_cast<int64_t>(i / 2);
    if (axis < 0 || amounts[i] < 0 || amounts[i + 1] < 0) return std::nullopt;
    call.before[axis] = amounts[i];
    call.after[axis] = amounts[i + 1];
  }
  const auto* value = arguments.find("value");
  if (value != nullptr && !value->isNone()) call.value = value->toScalar().toDouble();
  return call;
}

}  // namespace qat::capture
