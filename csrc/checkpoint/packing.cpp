#include "checkpoint/packing.h"

namespace qat::checkpoint {

std::optional<size_t> packed_size(int64_t count, int bits) {
  int64_t total = 0;
  if (count < 0 || __builtin_mul_overflow(count, bits, &total)) return std::nullopt;
  return static_cast<size_t>(total / 8 + (total % 8 != 0 ? 1 : 0));
}

std::string pack(const std::vector<std::byte>& codes, numerics::IntFormat format) {
  const uint32_t mask = (1u << format.bits) - 1;
  std::string packed;
  packed.reserve(codes.size() * format.bits / 8 + 1);
  uint32_t pending = 0;  // fewer than 8 bits, then at most 8 more
  int held = 0;
  for (const std::byte code : codes) {
    pending |= (std::to_integer<uint32_t>(code) & mask) << held;
    held += format.bits;
    if (held >= 8) {
      packed.push_back(static_cast<char>(pending));
      pending >>= 8;
      held -= 8;
    }
  }
  if (held > 0) packed.push_back(static_cast<char>(pending));
  return packed;
}

std::optional<std::vector<std::byte>> unpack(const std::string& packed, int64_t count,
                                             numerics::IntFormat format) {
  const uint32_t mask = (1u << format.bits) - 1;
  const uint32_t sign = format.is_signed ? 1u << (format.bits - 1) : 0;
  std::vector<std::byte> codes;
  codes.reserve(count);
  uint32_t pending = 0;
  int held = 0;
  size_t next = 0;
  for (int64_t i = 0; i < count; ++i) {
    if (held < format.bits) {
      pending |= uint32_t{static_cast<unsigned char>(packed[next++])} << held;
      held += 8;
    }
    const uint32_t code = pending & mask;
    codes.push_back(static_cast<std::byte>((code ^ sign) - sign));  // extends the sign
    pending >>= format.bits;
    held -= format.bits;
  }
  if (pending != 0) return std::nullopt;
  return codes;
}

}  // namespace qat::checkpoint
