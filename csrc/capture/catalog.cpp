#include "capture/catalog.h"

#include <mutex>
#include <string_view>
#include <unordered_map>

#include "error.h"

namespace qat::capture {
namespace {

// Names without namespace, overload and the underscore of in-place variants.
const std::unordered_map<std::string_view, Kind>& kinds() {
  static const std::unordered_map<std::string_view, Kind> table{
      {"conv1d", Kind::conv},
      {"conv2d", Kind::conv},
      {"conv3d", Kind::conv},
      {"conv_transpose1d", Kind::conv},
      {"conv_transpose2d", Kind::conv},
      {"conv_transpose3d", Kind::conv},
      {"convolution", Kind::conv},
      {"_convolution", Kind::conv},
      {"linear", Kind::linear},
      {"addmm", Kind::linear},
      {"mm", Kind::linear},
      {"matmul", Kind::linear},
      {"batch_norm", Kind::batch_norm},
      {"relu", Kind::activation},
      {"relu6", Kind::activation},
      {"hardtanh", Kind::activation},
      {"clamp", Kind::activation},
      {"clamp_min", Kind::activation},
      {"clamp_max", Kind::activation},
      {"leaky_relu", Kind::activation},
      {"hardswish", Kind::activation},
      {"hardsigmoid", Kind::activation},
      {"prelu", Kind::prelu},
      {"gelu", Kind::unary},
      {"silu", Kind::unary},
      {"sigmoid", Kind::unary},
      {"tanh", Kind::unary},
      {"elu", Kind::unary},
      {"selu", Kind::unary},
      {"celu", Kind::unary},
      {"mish", Kind::unary},
      {"softplus", Kind::unary},
      {"log_sigmoid", Kind::unary},
      {"exp", Kind::unary},
      {"erf", Kind::unary},
      {"abs", Kind::unary},
      {"sin", Kind::unary},
      {"cos", Kind::unary},
      {"hardshrink", Kind::unary},
      {"softshrink", Kind::unary},
      {"add", Kind::binary},
      {"sub", Kind::binary},
      {"mul", Kind::binary},
      {"max_pool1d", Kind::max_pool},
      {"max_pool2d", Kind::max_pool},
      {"max_pool3d", Kind::max_pool},
      {"avg_pool1d", Kind::avg_pool},
      {"avg_pool2d", Kind::avg_pool},
      {"avg_pool3d", Kind::avg_pool},
      {"adaptive_avg_pool1d", Kind::adaptive_avg_pool},
      {"adaptive_avg_pool2d", Kind::adaptive_avg_pool},
      {"adaptive_avg_pool3d", Kind::adaptive_avg_pool},
      {"mean", Kind::mean},
      {"cat", Kind::concat},
      {"concat", Kind::concat},
      {"concatenate", Kind::concat},
      {"pad", Kind::pad},
      {"constant_pad_nd", Kind::pad},
      {"view", Kind::reshape},
      {"reshape", Kind::reshape},
      {"flatten", Kind::reshape},
      {"unflatten", Kind::reshape},
      {"squeeze", Kind::reshape},
      {"unsqueeze", Kind::reshape},
      {"_unsafe_view", Kind::reshape},
      {"permute", Kind::permute},
      {"transpose", Kind::permute},
      {"t", Kind::permute},
      {"swapaxes", Kind::permute},
      {"movedim", Kind::permute},
      {"slice", Kind::slice},
      {"select", Kind::slice},
      {"narrow", Kind::slice},
      {"chunk", Kind::split},
      {"split", Kind::split},
      {"split_with_sizes", Kind::split},
      {"unbind", Kind::split},
      {"upsample_nearest1d", Kind::upsample_nearest},
      {"upsample_nearest2d", Kind::upsample_nearest},
      {"upsample_nearest3d", Kind::upsample_nearest},
      {"dropout", Kind::dropout},
      {"feature_dropout", Kind::dropout},
      {"alpha_dropout", Kind::dropout},
      {"contiguous", Kind::identity},
      {"alias", Kind::identity},
  };
  return table;
}

// Overloads that mean something else than the name alone says.
bool is_other_overload(const std::string& stem, const std::string& overload) {
  if (stem == "add" || stem == "sub" || stem == "mul") return overload != "Tensor";
  if (stem == "clamp" || stem == "clamp_min" || stem == "clamp_max") return !overload.empty();
  if (stem == "view") return !overload.empty();  // view.dtype
  if (stem == "mean") return overload != "dim";
  if (stem == "cat" || stem == "concat" || stem == "concatenate") return !overload.empty();
  return overload == "out";
}

Operator make_operator(const c10::OperatorHandle& op) {
  const auto& name = op.operator_name();
  Operator made;
  constexpr std::string_view kNamespace = "aten::";
  if (name.name.compare(0, kNamespace.size(), kNamespace) != 0) return made;
  made.stem = name.name.substr(kNamespace.size());
  const auto& arguments = op.schema().arguments();
  const auto* alias = arguments.empty() ? nullptr : arguments[0].alias_info();
  made.in_place = made.stem.size() > 1 && made.stem.back() == '_' && alias && alias->isWrite();
  if (made.in_place) made.stem.pop_back();
  const auto found = kinds().find(made.stem);
  if (found != kinds().end() && !is_other_overload(made.stem, name.overload_name)) {
    made.kind = found->second;
  }
  return made;
}

}  // namespace

const Operator& classify(const c10::OperatorHandle& op) {
  static std::mutex mutex;
  static std::unordered_map<const c10::FunctionSchema*, Operator> cache;
  thread_local std::unordered_map<const c10::FunctionSchema*, const Operator*> local;
  const auto* key = &op.schema();
  const auto hit = local.find(key);
  if (hit != local.end()) return *hit->second;
  std::lock_guard lock(mutex);
  const auto entry = cache.try_emplace(key, make_operator(op)).first;
  local[key] = &entry->second;
  return entry->second;
}

c10::OperatorHandle functional(const c10::OperatorHandle& op) {
  auto name = op.operator_name();
  const std::string original = name.name;
  if (name.name.back() == '_') name.name.pop_back();
  if (auto found = c10::Dispatcher::singleton().findSchema(name)) return *found;
  throw Error("prepare: the in-place operator " + original +
              " has no functional twin, so it cannot be recorded; use an out-of-place one.");
}

const c10::IValue* Arguments::find(std::string_view name) const {
  const auto index = index_of(name);
  return index ? &values_[*index] : nullptr;
}

const c10::IValue& Arguments::get(std::string_view name) const {
  const auto* value = find(name);
  TORCH_INTERNAL_ASSERT(value != nullptr, schema_->name(), " has no argument ", name);
  return *value;
}

std::optional<size_t> Arguments::index_of(std::string_view name) const {
  const auto& arguments = schema_->arguments();
  for (size_t i = 0; i < arguments.size(); ++i) {
    if (arguments[i].name() == name) return i;
  }
  return std::nullopt;
}

int64_t wrap_axis(int64_t axis, int64_t rank) { return axis < 0 ? axis + rank : axis; }

std::vector<int64_t> spatial_list(const c10::IValue& value, int64_t spatial) {
  std::vector<int64_t> list =
      value.isInt() ? std::vector<int64_t>{value.toInt()} : value.toIntVector();
  if (list.size() == 1) list.resize(spatial, list[0]);
  return list;
}

}  // namespace qat::capture
