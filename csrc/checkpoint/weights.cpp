#include "checkpoint/weights.h"

#include <cstring>
#include <optional>

#include "checkpoint/codebook.h"
#include "checkpoint/packing.h"
#include "error.h"
#include "graph/spelling.h"

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

}  // namespace

void add_weight(safetensors::File& file, const std::string& name, const Tensor& weight,
                numerics::IntFormat format) {
  if (auto found = encode_codebook(weight.bytes, format)) {
    const auto* codes = reinterpret_cast<const char*>(found->codes.data());
    file.tensors[name] = bytes_entry("U8", std::move(found->indices));
    file.tensors[name + kCodebookSuffix] = bytes_entry("I8", {codes, found->codes.size()});
  } else if (format.bits < 8) {
    file.tensors[name] = bytes_entry("U8", pack(weight.bytes, format));
  } else {
    file.tensors[name] = {"I8", weight.shape, to_string(weight.bytes)};
  }
}

Tensor weight_from(const Entry& entry, const Entry* codebook, const WeightLayout& layout,
                   const std::string& place) {
  if (codebook != nullptr) return codebook_weight(entry, *codebook, layout, place);
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
