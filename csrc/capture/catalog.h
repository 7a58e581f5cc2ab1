#pragma once
// Which ATen operators the library understands, under which of their overloads.

#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/ivalue.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "graph/graph.h"
#include "insert/nodes.h"
#include "numerics/activation.h"

namespace qat::capture {

enum class Kind {
  other,  // a float island
  conv,
  linear,
  batch_norm,
  activation,  // a piecewise polynomial, numerics::Activation
  prelu,
  unary,   // a function of one element, by table
  binary,  // add, sub, mul of two tensors
  max_pool,
  avg_pool,
  adaptive_avg_pool,
  mean,
  concat,
  pad,
  reshape,
  permute,
  slice,
  split,  // several slices at once
  upsample_nearest,
  dropout,
  identity,
};

struct Operator {
  Kind kind = Kind::other;
  bool in_place = false;
  std::string stem;  // "conv2d", "add": for names and messages, without namespace and trailing _
};

// Looked up once per operator, then cached by schema address.
const Operator& classify(const c10::OperatorHandle& op);

// The functional operator of an in-place one ("aten::add_.Tensor" -> "aten::add.Tensor").
// Throws qat::Error when there is none.
c10::OperatorHandle functional(const c10::OperatorHandle& op);

// A call's arguments by name, in the order of the schema.
class Arguments {
 public:
  Arguments(const c10::FunctionSchema& schema, const c10::IValue* values)
      : schema_(&schema), values_(values) {}
  size_t size() const { return schema_->arguments().size(); }
  const c10::IValue& at(size_t index) const { return values_[index]; }
  // nullptr when the schema has no such argument.
  const c10::IValue* find(std::string_view name) const;
  const c10::IValue& get(std::string_view name) const;
  std::optional<size_t> index_of(std::string_view name) const;
  const c10::FunctionSchema& schema() const { return *schema_; }

 private:
  const c10::FunctionSchema* schema_;
  const c10::IValue* values_;
};

// ---- what a call of each kind means. Indices count schema arguments.
struct ConvCall {
  size_t input = 0, weight = 1;
  std::optional<size_t> bias;
  insert::ConvGeometry geometry;
  std::string unsupported;  // why it must stay float; empty: it need not
};
ConvCall parse_conv(const Arguments& arguments, int64_t input_rank, at::IntArrayRef weight_sizes);

struct LinearCall {
  size_t input = 0, weight = 1;
  std::optional<size_t> bias;
  bool weight_transposed = false;  // weight is [C, K] (addmm, matmul)
  std::string unsupported;
};
LinearCall parse_linear(const Arguments& arguments);

numerics::Activation parse_activation(const Arguments& arguments, const std::string& stem);
// Empty when alpha is not 1.
std::optional<graph::Binary> parse_binary(const Arguments& arguments, const std::string& stem);
graph::MaxPoolAttributes parse_max_pool(const Arguments& arguments, int64_t spatial);
graph::AvgPoolAttributes parse_avg_pool(const Arguments& arguments, int64_t spatial);
std::vector<int64_t> parse_adaptive(const Arguments& arguments, int64_t spatial);
std::optional<graph::MeanAttributes> parse_mean(const Arguments& arguments, int64_t rank);
// Empty for other modes than constant, and for negative padding.
struct PadCall {
  std::vector<int64_t> before, after;
  double value = 0;
};
std::optional<PadCall> parse_pad(const Arguments& arguments, int64_t rank);

int64_t wrap_axis(int64_t axis, int64_t rank);
// A list argument with one entry per spatial axis; a single entry stands for all.
std::vector<int64_t> spatial_list(const c10::IValue& value, int64_t spatial);

}  // namespace qat::capture
