#include "checkpoint/packing.h"

#include <gtest/gtest.h>

namespace qat::checkpoint {
namespace {

std::vector<std::byte> bytes_of(const std::vector<int>& codes) {
  std::vector<std::byte> bytes;
  for (const int code : codes) bytes.push_back(static_cast<std::byte>(code));
  return bytes;
}

TEST(Packing, FirstCodeLiesInTheLowestBits) {
  // 4 bits: 1, -2 (1110), 7, -8 (1000)
  EXPECT_EQ(pack(bytes_of({1, -2, 7, -8}), {4, true}), "\xe1\x87");
  // 3 bits across the byte: 011, 100, 001 -> 01 100 011, 0
  EXPECT_EQ(pack(bytes_of({3, -4, 1}), {3, true}), std::string("\x63\x00", 2));
  EXPECT_EQ(pack(bytes_of({3, 0, 2}), {2, false}), "\x23");
}

TEST(Packing, EveryCodeOfEveryFormatComesBack) {
  for (int bits = numerics::kMinBits; bits <= numerics::kMaxBits; ++bits) {
    for (const bool is_signed : {false, true}) {
      const numerics::IntFormat format{bits, is_signed, false};
      std::vector<int> codes;
      for (int code = format.quant_min(); code <= format.quant_max(); ++code) {
        codes.push_back(code);
        const auto bytes = bytes_of(codes);
        const std::string packed = pack(bytes, format);
        const int64_t count = static_cast<int64_t>(codes.size());
        EXPECT_EQ(packed.size(), packed_size(count, bits));
        EXPECT_EQ(unpack(packed, count, format), bytes);
      }
    }
  }
}

TEST(Packing, UnusedBitsMustBeZero) {
  EXPECT_TRUE(unpack("\x0f", 1, {4, true}).has_value());
  for (int bit = 4; bit < 8; ++bit) {
    EXPECT_FALSE(unpack(std::string(1, static_cast<char>(1 << bit)), 1, {4, true}).has_value());
  }
}

TEST(Packing, SizeDoesNotOverflow) {
  EXPECT_EQ(packed_size(0, 3), 0u);
  EXPECT_EQ(packed_size(3, 3), 2u);
  EXPECT_EQ(packed_size(int64_t{1} << 62, 3), std::nullopt);
  EXPECT_EQ(packed_size(-1, 3), std::nullopt);
}

}  // namespace
}  // namespace qat::checkpoint
