#include "train/event_file.h"

#include <array>
#include <cstring>

namespace qat::train {
namespace {

constexpr std::array<uint32_t, 256> make_table() {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t value = i;
    // 0x82f63b78: the Castagnoli polynomial, bits reversed.
    for (int bit = 0; bit < 8; ++bit) value = value >> 1 ^ (value & 1 ? 0x82f63b78 : 0);
    table[i] = value;
  }
  return table;
}
constexpr auto kTable = make_table();

template <typename T>
std::string little_endian(T value) {
  std::string bytes(sizeof value, '\0');
  std::memcpy(bytes.data(), &value, sizeof value);
  return bytes;
}

std::string varint(uint64_t value) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7) bytes += static_cast<char>(value | 0x80);
  return bytes + static_cast<char>(value);
}

// Protobuf wire types.
enum Wire { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

std::string key(int field, Wire wire) { return varint(static_cast<uint64_t>(field) << 3 | wire); }
std::string text(int field, const std::string& bytes) {
  return key(field, kBytes) + varint(bytes.size()) + bytes;
}

// Event: 1 wall_time, 2 step, 3 file_version, 5 summary. Summary: 1 value. Value: 1 tag,
// 2 simple_value.
std::string event(double wall_time, int64_t step) {
  return key(1, kFixed64) + little_endian(wall_time) + key(2, kVarint) +
         varint(static_cast<uint64_t>(step));
}

}  // namespace

uint32_t masked_crc32c(const char* data, size_t size) {
  uint32_t crc = 0xffffffff;
  for (size_t i = 0; i < size; ++i) {
    crc = kTable[(crc ^ static_cast<uint8_t>(data[i])) & 0xff] ^ crc >> 8;
  }
  crc = ~crc;
  return (crc >> 15 | crc << 17) + 0xa282ead8;
}

EventFile::EventFile(const std::string& path, int64_t keep_bytes) : file_(path, keep_bytes) {
  if (file_.bytes() == 0) record(event(0, 0) + text(3, "brain.Event:2"));
}

void EventFile::scalar(const std::string& tag, int64_t step, double value, double wall_time) {
  const std::string item =
      text(1, tag) + key(2, kFixed32) + little_endian(static_cast<float>(value));
  record(event(wall_time, step) + text(5, text(1, item)));
}

void EventFile::record(const std::string& message) {
  const std::string length = little_endian(static_cast<uint64_t>(message.size()));
  file_.append(length + little_endian(masked_crc32c(length.data(), length.size())) + message +
               little_endian(masked_crc32c(message.data(), message.size())));
}

}  // namespace qat::train
