#include "checkpoint/safetensors.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <optional>
#include <tuple>

#include "error.h"
#include "graph/json_reader.h"
#include "graph/shapes.h"
#include "graph/spelling.h"
#include "graph/strict_json.h"
#include "graph/validate.h"

namespace qat::safetensors {
namespace {

using nlohmann::json;

constexpr const char* kMetadata = "__metadata__";
constexpr size_t kLengthBytes = 8;
constexpr uint64_t kMaxHeader = uint64_t{64} << 20;

struct Dtype {
  const char* name;
  int64_t bytes;
};

// In the order in which the safetensors package lays them out. Larger elements come first, so every
// tensor is aligned without gaps, which that package refuses.
constexpr std::array kDtypes = {Dtype{"U64", 8}, Dtype{"I64", 8}, Dtype{"F64", 8},  Dtype{"F32", 4},
                                Dtype{"U32", 4}, Dtype{"I32", 4}, Dtype{"BF16", 2}, Dtype{"F16", 2},
                                Dtype{"U16", 2}, Dtype{"I16", 2}, Dtype{"I8", 1},   Dtype{"U8", 1},
                                Dtype{"BOOL", 1}};

const Dtype* find_dtype(const std::string& name) {
  const auto* entry = std::find_if(kDtypes.begin(), kDtypes.end(),
                                   [&name](const Dtype& dtype) { return name == dtype.name; });
  return entry == kDtypes.end() ? nullptr : entry;
}

std::optional<int64_t> byte_count(const Dtype& dtype, const std::vector<int64_t>& shape) {
  int64_t count = dtype.bytes;
  for (const int64_t size : shape) {
    if (size < 0 || __builtin_mul_overflow(count, size, &count)) return std::nullopt;
  }
  return count;
}

// What both reading and writing demand of a tensor whose data has `bytes` bytes.
const Dtype& require_entry(const std::string& place, const std::string& name,
                           const std::string& dtype_name, const std::vector<int64_t>& shape,
                           uint64_t bytes) {
  if (!graph::is_tensor_name(name) || name == kMetadata) {
    throw Error(place + ": a name is 1 to 256 characters out of [A-Za-z0-9_./#:-]");
  }
  const Dtype* dtype = find_dtype(dtype_name);
  if (dtype == nullptr) {
    throw Error(place + ": unknown dtype " + graph::in_quotes(dtype_name));
  }
  if (shape.size() > graph::kMaxRank) {
    throw Error(place + ": rank must be at most 8, got " + std::to_string(shape.size()));
  }
  const auto expected = byte_count(*dtype, shape);
  if (!expected || static_cast<uint64_t>(*expected) != bytes) {
    throw Error(place + ": shape " + graph::to_text(shape) + " of " + dtype->name +
                " does not fit " + std::to_string(bytes) + " bytes");
  }
  return *dtype;
}

struct Placed {
  const Dtype* dtype;
  std::string name;
  int64_t begin, end;
  std::vector<int64_t> shape;
  // Position in kDtypes, then name.
  bool operator<(const Placed& other) const {
    return std::tie(dtype, name) < std::tie(other.dtype, other.name);
  }
};

std::string tensor_place(const std::string& origin, const std::string& name) {
  return origin + ": tensor " + graph::in_quotes(name);
}

Placed placed_from(const json& entry, const std::string& name, uint64_t data_bytes,
                   const std::string& place) {
  graph::ObjectReader object(entry, place);
  const std::string dtype = object.string("dtype");
  const std::vector<int64_t> shape = object.integers("shape");
  const std::vector<int64_t> offsets = object.integers("data_offsets");
  object.finish();
  if (offsets.size() != 2 || offsets[0] < 0 || offsets[1] < offsets[0] ||
      static_cast<uint64_t>(offsets[1]) > data_bytes) {
    throw Error(place + ": data_offsets must be [begin, end] within the " +
                std::to_string(data_bytes) + " bytes of data, got " + graph::to_text(offsets));
  }
  const Dtype& known = require_entry(place, name, dtype, shape, offsets[1] - offsets[0]);
  if (offsets[0] % known.bytes != 0) {
    throw Error(place + ": the offset must be a multiple of " + std::to_string(known.bytes) +
                ", the size of an element, got " + std::to_string(offsets[0]));
  }
  return {&known, name, offsets[0], offsets[1], shape};
}

// Tensors one after the other, in order, from the first byte of data to the last.
void require_layout(std::vector<Placed>& tensors, uint64_t data_bytes, const std::string& origin) {
  std::sort(tensors.begin(), tensors.end(), [](const Placed& a, const Placed& b) {
    return std::tie(a.begin, a.end, a.dtype, a.name) < std::tie(b.begin, b.end, b.dtype, b.name);
  });
  int64_t end = 0;
  for (const Placed& tensor : tensors) {
    if (tensor.begin != end) {
      throw Error(tensor_place(origin, tensor.name) +
                  ": data must begin where the one before ends, " + "at " + std::to_string(end) +
                  ", got " + (tensor.begin < end ? "an overlap at " : "a gap up to ") +
                  std::to_string(tensor.begin));
    }
    end = tensor.end;
  }
  if (static_cast<uint64_t>(end) != data_bytes) {
    throw Error(origin + ": the file must end with the last tensor, at byte " +
                std::to_string(end) + " of the data, got " + std::to_string(data_bytes) +
                " bytes of data");
  }
  const auto misplaced = std::is_sorted_until(tensors.begin(), tensors.end());
  if (misplaced != tensors.end()) {
    throw Error(tensor_place(origin, misplaced->name) +
                ": tensors must lie in the order of their dtypes (large elements first) and names, "
                "got this one after " +
                graph::in_quotes((misplaced - 1)->name));
  }
}

std::map<std::string, std::string> metadata_from(const json& header, const std::string& origin) {
  std::map<std::string, std::string> metadata;
  const auto found = header.find(kMetadata);
  if (found == header.end()) return metadata;
  const std::string place = origin + ": " + kMetadata;
  if (!found->is_object()) graph::fail_expected(place, "object", *found);
  for (const auto& entry : found->items()) {
    metadata[entry.key()] =
        graph::string_from(entry.value(), place + ": " + graph::in_quotes(entry.key()));
  }
  return metadata;
}

void append_length(std::string& bytes, uint64_t length) {
  for (int shift = 0; shift < 64; shift += 8) bytes.push_back(static_cast<char>(length >> shift));
}

uint64_t header_length(const std::string& bytes, const std::string& origin) {
  if (bytes.size() < kLengthBytes) {
    throw Error(origin + ": a file has at least 8 bytes, got " + std::to_string(bytes.size()));
  }
  uint64_t length = 0;
  for (size_t i = 0; i < kLengthBytes; ++i) {
    length |= uint64_t{static_cast<unsigned char>(bytes[i])} << (8 * i);
  }
  if (length > kMaxHeader) {
    throw Error(origin + ": the header must have at most 64 MiB, got " + std::to_string(length) +
                " bytes; is this a safetensors file?");
  }
  if (length > bytes.size() - kLengthBytes) {
    throw Error(origin + ": the header must end within the file, got " + std::to_string(length) +
                " bytes of header and " + std::to_string(bytes.size()) + " bytes of file");
  }
  if (length % 8 != 0) {
    throw Error(origin + ": the length of the header must be a multiple of 8, got " +
                std::to_string(length));
  }
  return length;
}

}  // namespace

std::string serialize(const File& file) {
  std::vector<Placed> tensors;
  for (const auto& [name, entry] : file.tensors) {
    const Dtype& dtype = require_entry(tensor_place("safetensors", name), name, entry.dtype,
                                       entry.shape, entry.bytes.size());
    tensors.push_back({&dtype, name, 0, 0, entry.shape});
  }
  std::sort(tensors.begin(), tensors.end());
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!file.metadata.empty()) header[kMetadata] = file.metadata;
  int64_t offset = 0;
  for (const Placed& tensor : tensors) {
    const int64_t end = offset + static_cast<int64_t>(file.tensors.at(tensor.name).bytes.size());
    header[tensor.name] = {
        {"dtype", tensor.dtype->name}, {"shape", tensor.shape}, {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text;
  try {
    text = header.dump();
  } catch (const nlohmann::json::type_error&) {
    throw Error("safetensors: metadata must be UTF-8 text");
  }
  text.append((8 - text.size() % 8) % 8, ' ');
  if (text.size() > kMaxHeader) {
    throw Error("safetensors: the header must have at most 64 MiB, got " +
                std::to_string(text.size()) + " bytes");
  }
  std::string bytes;
  bytes.reserve(kLengthBytes + text.size() + static_cast<size_t>(offset));
  append_length(bytes, text.size());
  bytes += text;
  for (const Placed& tensor : tensors) bytes += file.tensors.at(tensor.name).bytes;
  return bytes;
}

File parse(const std::string& bytes, const std::string& origin) {
  const uint64_t length = header_length(bytes, origin);
  const std::string_view text = std::string_view(bytes).substr(kLengthBytes, length);
  const size_t data_begin = kLengthBytes + length;
  const uint64_t data_bytes = bytes.size() - data_begin;
  const json header = graph::parse_strict_json(text, origin + ": header");
  std::vector<Placed> tensors;
  for (const auto& entry : header.items()) {
    if (entry.key() == kMetadata) continue;
    tensors.push_back(
        placed_from(entry.value(), entry.key(), data_bytes, tensor_place(origin, entry.key())));
  }
  require_layout(tensors, data_bytes, origin);
  File file;
  file.metadata = metadata_from(header, origin);
  for (Placed& tensor : tensors) {
    file.tensors[tensor.name] = {
        tensor.dtype->name, std::move(tensor.shape),
        bytes.substr(data_begin + tensor.begin, tensor.end - tensor.begin)};
  }
  return file;
}

}  // namespace qat::safetensors
