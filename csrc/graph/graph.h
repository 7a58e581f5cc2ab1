#pragma once
// The integer graph: what a checkpoint stores, an executor runs and an exporter writes.
// Static single assignment; nodes stand in execution order. docs/format.md gives its JSON form.

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "numerics/activation.h"
#include "numerics/format.h"
#include "numerics/qparams.h"

namespace qat::graph {

// A size or index that depends on the batch: per_batch * B + constant.
struct Affine {
  int64_t per_batch = 0;
  int64_t constant = 0;
  int64_t at(int64_t batch) const { return per_batch * batch + constant; }
  bool operator==(const Affine&) const = default;
};
using Shape = std::vector<Affine>;

enum class ElementType { codes, float32, int64, boolean };

// One tensor of the graph. `codes` values carry the format and the parameters of their integers;
// they are held as uint8 when the format is unsigned and as int8 when it is signed.
struct Value {
  std::string name;
  ElementType type = ElementType::float32;
  Shape shape;
  numerics::IntFormat format;     // codes only
  numerics::QuantParams qparams;  // codes only
};

// ---- attributes, one struct per operator -----------------------------------------------------
// `tensors` named below are keys of the checkpoint's tensor section.

struct QuantizeAttributes {};    // float32 -> codes, by the output value's parameters
struct DequantizeAttributes {};  // codes -> float32

// codes[N, C, spatial...] -> float32: float(acc) * multiplier[c] + bias[c].
// weight: int8[K, C/groups, kernel...], or int8[C, K/groups, kernel...] when transposed.
struct ConvAttributes {
  std::string weight;
  numerics::IntFormat weight_format = numerics::kInt8Narrow;
  std::string multiplier;  // float32[K]
  std::string bias;        // float32[K], empty: no addition at all
  std::vector<int64_t> stride, padding, dilation, output_padding;  // one per spatial axis
  int64_t groups = 1;
  bool transposed = false;
};

// codes[..., C] -> float32[..., K]; weight: int8[K, C].
struct LinearAttributes {
  std::string weight;
  numerics::IntFormat weight_format = numerics::kInt8Narrow;
  std::string multiplier;  // float32[K]
  std::string bias;        // float32[K] or empty
};

struct ActivationAttributes {  // float32 -> float32
  numerics::Activation activation;
  std::string slope;  // float32[C], PReLU: leaky_relu with one slope per channel (axis 1); or empty
};

// float32[N, C, ...] -> float32: x * multiplier[c] + bias[c] on axis 1 (batch norm without a conv).
struct AffineAttributes {
  std::string multiplier, bias;
};

enum class Binary { add, sub, mul };
struct BinaryAttributes {  // float32, float32 -> float32, broadcasting
  Binary op = Binary::add;
};

struct MaxPoolAttributes {  // codes -> codes, same parameters
  std::vector<int64_t> kernel, stride, padding, dilation;
  bool ceil_mode = false;
};

struct AvgPoolAttributes {  // codes -> float32: float(sum of centred codes) * (scale / n)
  std::vector<int64_t> kernel, stride, padding;
  bool ceil_mode = false;
  bool count_include_pad = true;
  int64_t divisor_override = 0;  // 0: none
};

struct AdaptiveAvgPoolAttributes {  // codes -> float32, over the trailing axes
  std::vector<int64_t> output_size;
};

struct MeanAttributes {       // codes -> float32
  std::vector<int64_t> axes;  // non-negative, ascending
  bool keepdim = false;
};

// codes -> codes or float32: table[code - quant_min]. The table holds codes (uint8 or int8) when
// the output holds codes, else float32; 2^bits entries.
struct LookupAttributes {
  std::string table;
};

// Layout operators: codes -> codes with the same parameters, or float32/int64/boolean -> the same.
struct ConcatAttributes {
  int64_t axis = 0;
};
struct PadAttributes {                 // constant padding
  std::vector<int64_t> before, after;  // one per axis, non-negative
  int32_t code = 0;                    // what is put in (codes), the code of the padding value
};
struct ReshapeAttributes {
  Shape shape;
};
struct PermuteAttributes {
  std::vector<int64_t> axes;
};
struct SliceAttributes {
  int64_t axis = 0;
  Affine start, stop;  // half open, already clipped to the axis
  int64_t step = 1;
};
struct UpsampleNearestAttributes {  // integer factor per trailing axis
  std::vector<int64_t> factor;
};

// A constant tensor, for values that depend on parameters alone.
struct ConstantAttributes {
  std::string tensor;
};

// ---- operators evaluated by ATen (float islands) -----------------------------------------------
// One argument of a schema, in schema order.
struct AtenArgument;
using AtenList = std::vector<AtenArgument>;
struct NoneArgument {
  bool operator==(const NoneArgument&) const = default;
};
struct InputArgument {  // index into the node's inputs
  int64_t index = 0;
};
struct AtenArgument {
  std::variant<NoneArgument, InputArgument, Affine, double, bool, std::string, AtenList> value;
};
struct AtenAttributes {
  std::string schema;  // operator name with overload: "aten::softmax.int"
  std::vector<AtenArgument> arguments;
};

using Attributes =
    std::variant<QuantizeAttributes, DequantizeAttributes, ConvAttributes, LinearAttributes,
                 ActivationAttributes, AffineAttributes, BinaryAttributes, MaxPoolAttributes,
                 AvgPoolAttributes, AdaptiveAvgPoolAttributes, MeanAttributes, LookupAttributes,
                 ConcatAttributes, PadAttributes, ReshapeAttributes, PermuteAttributes,
                 SliceAttributes, UpsampleNearestAttributes, ConstantAttributes, AtenAttributes>;

struct Node {
  std::string name;  // the site, as the plan prints it: "layer1.0.conv1"
  Attributes attributes;
  std::vector<int64_t> inputs;  // indices into Graph::values
  std::vector<int64_t> outputs;
};

struct Graph {
  std::vector<Value> values;
  std::vector<Node> nodes;
  std::vector<int64_t> inputs, outputs;
  std::vector<std::string> output_names;  // empty, or one per output (a model that returns a dict)
};

// Spelling of an operator in files and messages: "conv", "max_pool", "aten".
const char* operator_name(const Attributes& attributes);

}  // namespace qat::graph
