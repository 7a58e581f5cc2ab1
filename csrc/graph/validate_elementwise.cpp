// Elementwise operators, tables, constants, and the frame of aten nodes.

#include <algorithm>
#include <cctype>
#include <cmath>
#include <string_view>

#include "graph/shapes.h"
#include "graph/spelling.h"
#include "graph/validate_node.h"

namespace qat::graph {
namespace {

void require_elementwise(const NodeCheck& node, ElementType input, ElementType output) {
  node.require_arity(1);
  node.require_input_type(input);
  node.require_output_type(output);
  node.require_output_shape(node.input().shape);
}

int64_t channels_on_axis_1(const NodeCheck& node) {
  const Shape& input = node.input().shape;
  node.require(input.size() >= 2 && is_constant(input[1]),
               "channels must lie on axis 1 and be constant, got input " + to_text(input));
  return input[1].constant;
}

TensorType stored_type(ElementType type, numerics::IntFormat format) {
  switch (type) {
    case ElementType::codes:
      return format.is_signed ? TensorType::int8 : TensorType::uint8;
    case ElementType::int64:
      return TensorType::int64;
    case ElementType::boolean:
      return TensorType::boolean;
    case ElementType::float32:
      break;
  }
  return TensorType::float32;
}

void require_table_codes(const NodeCheck& node, const Tensor& table, const std::string& name) {
  const numerics::IntFormat format = node.output().format;
  for (int64_t i = 0; i < table.numel(); ++i) {
    const int32_t code =
        format.is_signed ? int32_t{table.data<int8_t>()[i]} : int32_t{table.data<uint8_t>()[i]};
    if (code >= format.quant_min() && code <= format.quant_max()) continue;
    node.fail("table " + in_quotes(name) + " must hold codes of " + spelling(format) + ", got " +
              std::to_string(code) + " at [" + std::to_string(i) + "]");
  }
}

bool is_word(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return c == '_' || (c < 0x80 && std::isalnum(c));
  });
}

// "aten::name" or "aten::name.overload".
bool is_schema_name(std::string_view schema) {
  constexpr std::string_view kNamespace = "aten::";
  if (schema.substr(0, kNamespace.size()) != kNamespace) return false;
  schema.remove_prefix(kNamespace.size());
  const size_t dot = schema.find('.');
  return is_word(schema.substr(0, dot)) &&
         (dot == std::string_view::npos || is_word(schema.substr(dot + 1)));
}

// The file's nesting limit is 32; the node, its lists and the graph around them take five.
constexpr int kMaxListDepth = 24;

void require_arguments(const NodeCheck& node, const AtenList& arguments, int depth) {
  node.require(depth <= kMaxListDepth, "lists in arguments must be nested at most " +
                                           std::to_string(kMaxListDepth) + " deep");
  const int64_t inputs = node.node().inputs.size();
  for (const AtenArgument& argument : arguments) {
    if (const auto* input = std::get_if<InputArgument>(&argument.value)) {
      node.require(input->index >= 0 && input->index < inputs,
                   "an argument must refer to an input below " + std::to_string(inputs) + ", got " +
                       std::to_string(input->index));
    }
    if (const auto* size = std::get_if<Affine>(&argument.value); size && !is_constant(*size)) {
      for (const int64_t part : {size->per_batch, size->constant}) {
        node.require(part >= -kMaxElements && part <= kMaxElements,
                     "a size that depends on the batch must be at most " +
                         std::to_string(kMaxElements) + ", got " + to_text(*size));
      }
    }
    if (const auto* list = std::get_if<AtenList>(&argument.value)) {
      require_arguments(node, *list, depth + 1);
    }
  }
}

}  // namespace

void validate_operator(const NodeCheck& node, const QuantizeAttributes&) {
  require_elementwise(node, ElementType::float32, ElementType::codes);
}

void validate_operator(const NodeCheck& node, const DequantizeAttributes&) {
  require_elementwise(node, ElementType::codes, ElementType::float32);
}

void validate_operator(const NodeCheck& node, const ActivationAttributes& a) {
  require_elementwise(node, ElementType::float32, ElementType::float32);
  using Kind = numerics::ActivationKind;
  node.require(a.activation.kind != Kind::none, "kind must name an activation, got none");
  node.require(!std::isnan(a.activation.p0) && !std::isnan(a.activation.p1),
               "p0 and p1 must be numbers, got nan");
  if (a.slope.empty()) return;
  node.require(
      a.activation.kind == Kind::leaky_relu,
      std::string("slope goes with kind leaky_relu only, got ") + spelling(a.activation.kind));
  node.tensor("slope", a.slope, TensorType::float32, {channels_on_axis_1(node)});
}

void validate_operator(const NodeCheck& node, const AffineAttributes& a) {
  require_elementwise(node, ElementType::float32, ElementType::float32);
  const int64_t channels = channels_on_axis_1(node);
  node.require_channel_floats("multiplier", a.multiplier, channels);
  node.require_channel_floats("bias", a.bias, channels);
}

void validate_operator(const NodeCheck& node, const BinaryAttributes&) {
  node.require_arity(2);
  node.require_input_type(ElementType::float32, 0);
  node.require_input_type(ElementType::float32, 1);
  node.require_output_type(ElementType::float32);
  const auto expected = broadcast(node.input(0).shape, node.input(1).shape);
  if (!expected) {
    node.fail("inputs do not broadcast: " + to_text(node.input(0).shape) + " and " +
              to_text(node.input(1).shape));
  }
  node.require_output_shape(*expected);
}

void validate_operator(const NodeCheck& node, const LookupAttributes& a) {
  const ElementType output = node.output().type;
  require_elementwise(node, ElementType::codes,
                      output == ElementType::codes ? output : ElementType::float32);
  const TensorType type = stored_type(output, node.output().format);
  const Tensor& table =
      node.tensor("table", a.table, type, {int64_t{1} << node.input().format.bits});
  if (output == ElementType::codes) require_table_codes(node, table, a.table);
}

void validate_operator(const NodeCheck& node, const ConstantAttributes& a) {
  node.require_arity(0);
  const Value& output = node.output();
  node.require(output.type != ElementType::codes,
               "output must be float32, int64 or boolean, got codes");
  std::vector<int64_t> shape;
  for (const Affine size : output.shape) {
    node.require(is_constant(size), "the shape must be constant, got " + to_text(output.shape));
    shape.push_back(size.constant);
  }
  node.tensor("tensor", a.tensor, stored_type(output.type, {}), shape);
}

void validate_operator(const NodeCheck& node, const AtenAttributes& a) {
  node.require(!node.node().outputs.empty(), "must have at least 1 output, got 0");
  node.require(is_schema_name(a.schema),
               "schema must read aten::name or aten::name.overload, got " + in_quotes(a.schema));
  require_arguments(node, a.arguments, 1);
}

}  // namespace qat::graph
