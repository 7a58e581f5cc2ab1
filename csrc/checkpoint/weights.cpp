#include "checkpoint/weights.h"

#include <cstring>
#include <optional>

#include "checkpoint/codebook.h"
#include "checkpoint/group_codes.h"
#include "checkpoint/packing.h"
#include "error.h"
#include "graph/spelling.h"
#include "numerics/weight_groups.h"

namespace qat::checkpoint {
namespace {

using graph::Tensor;
using graph::TensorType;
using graph::WeightLayout;
using safetensors::Entry;

std::string to_string(const std::vector<std::byte>& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

Entry bytes_entry(const char* dtype, std::string bytes) {
  const auto size = static_cast<int64_t>(bytes.size());
  return {dtype, {size}, std::move(bytes)};
}

std::optional<int64_t> element_count(const std::vector<int64_t>& shape) {
  int64_t count = 1;
  for (const int64_t size : shape) {
    if (size < 0 || __builtin_mul_overflow(count, size, &count)) return std::nullopt;
  }
  return count;
}

// The number of codes, once the entry has the bytes for them; `what` names the form.
int64_t require_packed(const Entry& entry, const WeightLayout& layout, int bits,
                       const std::string& what, const std::string& place) {
  const auto count = element_count(layout.shape);
  const auto bytes = count ? packed_size(*count, bits) : std::nullopt;
  if (!bytes || entry.dtype != "U8" || entry.shape.size() != 1 || entry.bytes.size() != *bytes) {
    throw Error(place + what + " and weight_shape " + graph::to_text(layout.shape) +
                " are packed as U8 [" + (bytes ? std::to_string(*bytes) : "?") + "], got " +
                entry.dtype + " " + graph::to_text(entry.shape));
  }
  return *count;
}

Tensor packed_weight(const Entry& entry, const WeightLayout& layout, const std::string& place) {
  const std::string what = "codes of " + graph::spelling(layout.format);
  const int64_t count = require_packed(entry, layout, layout.format.bits, what, place);
  auto codes = unpack(entry.bytes, count, layout.format);
  if (!codes) throw Error(place + "the unused bits of the last byte must be zero");
  return {TensorType::int8, layout.shape, std::move(*codes)};
}

Tensor codebook_weight(const Entry& entry, const Entry& codebook, const WeightLayout& layout,
                       const std::string& place) {
  if (codebook.dtype != "I8" || codebook.shape.size() != 1) {
    throw Error(place + "its codebook must be I8 [n], got " + codebook.dtype + " " +
                graph::to_text(codebook.shape));
  }
  std::vector<int8_t> book(codebook.bytes.size());
  std::memcpy(book.data(), codebook.bytes.data(), book.size());
  const std::string obstacle = codebook_obstacle(book, layout.format);
  if (!obstacle.empty()) throw Error(place + obstacle);
  const std::string what = "indices into a codebook of " + std::to_string(book.size());
  const int64_t count = require_packed(entry, layout, index_bits(book.size()), what, place);
  ExpandedCodes expanded = expand_codebook(book, entry.bytes, count);
  if (!expanded.failure.empty()) throw Error(place + expanded.failure);
  return {TensorType::int8, layout.shape, std::move(expanded.codes)};
}

// The table beside a weight in groups, with one number for each of them.
std::vector<uint8_t> group_table(const Entry& entry, const char* what, const WeightLayout& layout,
                                 int lowest, int highest, const std::string& place) {
  const int64_t rows = layout.shape.at(0), row_size = *element_count(layout.shape) / rows;
  const bool fits = entry.dtype == "U8" && entry.shape.size() == 2 && entry.shape[0] == rows &&
                    entry.shape[1] >= 1 && entry.shape[1] <= row_size;
  if (!fits) {
    throw Error(place + "its " + what + " must be U8 [" + std::to_string(rows) +
                ", groups] with 1 to " + std::to_string(row_size) + " groups, got " + entry.dtype +
                " " + graph::to_text(entry.shape));
  }
  std::vector<uint8_t> values(entry.bytes.begin(), entry.bytes.end());
  for (const uint8_t value : values) {
    if (value >= lowest && value <= highest) continue;
    throw Error(place + "its " + what + " are " + std::to_string(lowest) + " to " +
                std::to_string(highest) + ", got " + std::to_string(value));
  }
  return values;
}

Tensor group_weight(const Entry& entry, const Entry& steps, const Entry* zero_points,
                    const WeightLayout& layout, const std::string& place) {
  const auto count = element_count(layout.shape);
  if (!(layout.format == numerics::kInt8Narrow) || !count || *count < kFewestGroupCodes) {
    throw Error(place + "weights in groups are n8 and have at least 8 codes, got " +
                graph::spelling(layout.format) + " " + graph::to_text(layout.shape));
  }
  const int bits = bits_of(entry.bytes.size(), *count);
  if (bits == 0) {
    throw Error(place + "weight_shape " + graph::to_text(layout.shape) +
                " in groups takes 2 to 7 bits each, got " + std::to_string(entry.bytes.size()) +
                " bytes");
  }
  const std::string what = "groups of " + std::to_string(bits) + " bits";
  require_packed(entry, layout, bits, what, place);
  GroupCodes groups{layout.shape[0], 1, {bits, zero_points == nullptr, false}, {}, {}, entry.bytes};
  groups.steps = group_table(steps, "steps", layout, 1, 127, place);
  groups.groups = steps.shape[1];
  const int64_t row_size = *count / groups.rows;
  const int64_t size = numerics::group_size(row_size, groups.groups);
  if (const int64_t used = numerics::group_layout(row_size, size).count; used != groups.groups) {
    throw Error(place + "rows of " + std::to_string(row_size) + " codes in groups of " +
                std::to_string(size) + " have " + std::to_string(used) + " groups, got steps for " +
                std::to_string(groups.groups));
  }
  if (zero_points != nullptr) {
    const int highest = groups.format.quant_max();
    groups.zero_points = group_table(*zero_points, "zero points", layout, 0, highest, place);
    if (zero_points->shape != steps.shape) {
      throw Error(place + "its zero points must have the shape of its steps, " +
                  graph::to_text(steps.shape) + ", got " + graph::to_text(zero_points->shape));
    }
  }
  ExpandedGroups expanded = expand_groups(groups, row_size);
  if (!expanded.failure.empty()) throw Error(place + expanded.failure);
  return {TensorType::int8, layout.shape, std::move(expanded.codes)};
}

const Entry* entry_beside(const safetensors::File& file, const std::string& name,
                          const char* suffix) {
  const auto found = file.tensors.find(name + suffix);
  return found == file.tensors.end() ? nullptr : &found->second;
}

// The bytes of the weight without groups.
size_t plain_size(const Tensor& weight, const std::optional<Codebook>& codebook,
                  numerics::IntFormat format) {
  if (codebook) return codebook->indices.size() + codebook->codes.size();
  return *packed_size(static_cast<int64_t>(weight.bytes.size()), format.bits);
}

Entry table_entry(const std::vector<uint8_t>& values, const GroupCodes& groups) {
  return {"U8", {groups.rows, groups.groups}, {values.begin(), values.end()}};
}

}  // namespace

const std::vector<std::string>& weight_suffixes() {
  static const std::vector<std::string> suffixes = {kCodebookSuffix, kStepSuffix, kZeroPointSuffix};
  return suffixes;
}

void add_weight(safetensors::File& file, const std::string& name, const Tensor& weight,
                numerics::IntFormat format) {
  auto found = encode_codebook(weight.bytes, format);
  std::optional<GroupCodes> groups;
  if (format == numerics::kInt8Narrow && !weight.shape.empty()) {
    groups = encode_groups(weight.bytes, weight.shape[0], plain_size(weight, found, format));
  }
  if (groups) {
    file.tensors[name] = bytes_entry("U8", std::move(groups->packed));
    file.tensors[name + kStepSuffix] = table_entry(groups->steps, *groups);
    if (groups->zero_points.empty()) return;
    file.tensors[name + kZeroPointSuffix] = table_entry(groups->zero_points, *groups);
  } else if (found) {
    const auto* codes = reinterpret_cast<const char*>(found->codes.data());
    file.tensors[name] = bytes_entry("U8", std::move(found->indices));
    file.tensors[name + kCodebookSuffix] = bytes_entry("I8", {codes, found->codes.size()});
  } else if (format.bits < 8) {
    file.tensors[name] = bytes_entry("U8", pack(weight.bytes, format));
  } else {
    file.tensors[name] = {"I8", weight.shape, to_string(weight.bytes)};
  }
}

Tensor weight_from(const safetensors::File& file, const std::string& name,
                   const WeightLayout& layout, const std::string& place) {
  const Entry& entry = file.tensors.at(name);
  const Entry* codebook = entry_beside(file, name, kCodebookSuffix);
  const Entry* steps = entry_beside(file, name, kStepSuffix);
  const Entry* zero_points = entry_beside(file, name, kZeroPointSuffix);
  if (codebook != nullptr && (steps != nullptr || zero_points != nullptr)) {
    throw Error(place + "has a codebook or groups, not both");
  }
  if (zero_points != nullptr && steps == nullptr) {
    throw Error(place + "zero points need steps; '" + name + kStepSuffix + "' is missing");
  }
  if (codebook != nullptr) return codebook_weight(entry, *codebook, layout, place);
  if (steps != nullptr) return group_weight(entry, *steps, zero_points, layout, place);
  if (layout.format.bits < 8) return packed_weight(entry, layout, place);
  if (layout.shape != entry.shape) {
    throw Error(place + "weight_shape must be that of the tensor, " + graph::to_text(entry.shape) +
                ", got " + graph::to_text(layout.shape));
  }
  if (entry.dtype != "I8") throw Error(place + "codes of 8 bits are I8, got " + entry.dtype);
  const auto* begin = reinterpret_cast<const std::byte*>(entry.bytes.data());
  return {TensorType::int8, layout.shape, {begin, begin + entry.bytes.size()}};
}

}  // namespace qat::checkpoint
