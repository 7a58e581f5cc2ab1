#include "train/data_idx.h"

#include <zlib.h>

#include <cerrno>
#include <cstring>
#include <memory>

#include "error.h"

namespace qat::train {
namespace {

constexpr int kUnsignedByte = 0x08;

[[noreturn]] void fail(const std::string& origin, const std::string& message) {
  throw Error(origin + ": " + message);
}

// gzread hands plain files through unchanged.
std::string unpack(const std::string& path) {
  errno = 0;
  const std::unique_ptr<gzFile_s, int (*)(gzFile)> file(gzopen(path.c_str(), "rb"), gzclose);
  if (!file) fail(path, std::string("cannot open the file: ") + std::strerror(errno));
  std::string bytes, chunk(1 << 20, '\0');
  for (;;) {
    const int got = gzread(file.get(), chunk.data(), static_cast<unsigned>(chunk.size()));
    int code = Z_OK;
    const char* reason = gzerror(file.get(), &code);
    // A truncated gzip stream ends with got = 0 and Z_BUF_ERROR.
    if (got < 0 || (code != Z_OK && code != Z_STREAM_END)) {
      fail(path, std::string("cannot unpack the file: ") +
                     (code == Z_BUF_ERROR ? "it ends in the middle of its gzip stream" : reason));
    }
    if (got == 0) return bytes;
    bytes.append(chunk, 0, static_cast<size_t>(got));
  }
}

uint32_t big_endian(const std::string& bytes, size_t at) {
  uint32_t value = 0;
  for (size_t i = 0; i < 4; ++i) value = value << 8 | static_cast<uint8_t>(bytes[at + i]);
  return value;
}

}  // namespace

IdxFile parse_idx(std::string bytes, const std::string& origin) {
  if (bytes.size() < 4) {
    fail(origin, "an IDX file has at least 4 bytes, found " + std::to_string(bytes.size()));
  }
  const uint32_t magic = big_endian(bytes, 0);
  const int type = magic >> 8 & 0xff;
  const size_t rank = magic & 0xff;
  if (magic >> 16 != 0 || rank < 1 || rank > 4) {
    fail(origin,
         "not an IDX file: expected a magic number 0x0000"
         "TTRR with rank 1 to 4, found " +
             std::to_string(magic));
  }
  if (type != kUnsignedByte) {
    fail(origin, "expected unsigned bytes (type 8), found type " + std::to_string(type));
  }
  const size_t header = 4 + 4 * rank;
  if (bytes.size() < header) {
    fail(origin, "the header has " + std::to_string(header) + " bytes, the file only " +
                     std::to_string(bytes.size()));
  }
  IdxFile file;
  // Four sizes below 2^32 could overflow 64 bits, so the product stops at the file's own length.
  uint64_t count = 1;
  for (size_t axis = 0; axis < rank; ++axis) {
    const uint32_t size = big_endian(bytes, 4 + 4 * axis);
    if (size == 0) fail(origin, "axis " + std::to_string(axis) + " has size 0");
    file.shape.push_back(size);
    if (count <= bytes.size()) count *= size;
  }
  const uint64_t present = bytes.size() - header;
  if (count != present) {
    std::string shape;
    for (const int64_t size : file.shape)
      shape += (shape.empty() ? "" : "x") + std::to_string(size);
    fail(origin, std::string(count > present ? "truncated" : "too long") + ": the header says " +
                     shape + " bytes, the file holds " + std::to_string(present));
  }
  bytes.erase(0, header);
  file.bytes = std::move(bytes);
  return file;
}

IdxFile read_idx(const std::string& path) { return parse_idx(unpack(path), path); }

}  // namespace qat::train
