#pragma once
// SHA-256 (FIPS 180-4), so that libqat_runtime needs no cryptographic library.

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace qat::checkpoint {

class Sha256 {
 public:
  void update(std::string_view bytes);
  // 64 lower-case hexadecimal digits. The object is used up.
  std::string finish();

 private:
  static constexpr size_t kBlock = 64;

  void compress(const unsigned char* block);

  std::array<uint32_t, 8> state_ = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                    0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::array<unsigned char, kBlock> pending_{};
  uint64_t length_ = 0;  // bytes so far
};

std::string sha256(std::string_view bytes);

}  // namespace qat::checkpoint
