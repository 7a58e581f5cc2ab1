#pragma once
// Weights whose codes are, group by group, multiples of a step: fewer bits for each, and a step
// and at times a zero point for each group.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "numerics/format.h"

namespace qat::checkpoint {

constexpr const char* kStepSuffix = ".step";
constexpr const char* kZeroPointSuffix = ".zero_point";

// A code is step * (q - zero_point) with the q of `packed`.
struct GroupCodes {
  int64_t rows = 0, groups = 0;      // groups of a row
  numerics::IntFormat format;        // of q: signed without zero points
  std::vector<uint8_t> steps;        // rows * groups
  std::vector<uint8_t> zero_points;  // likewise, or empty
  std::string packed;
};

// The smallest such form of rows * row_size codes, if one is smaller than `limit` bytes.
std::optional<GroupCodes> encode_groups(const std::vector<std::byte>& codes, int64_t rows,
                                        size_t limit);

// Bytes of the form: what lies in the file, and about what its entries take in the header.
size_t size_of(const GroupCodes& groups);

constexpr int64_t kFewestGroupCodes = 8;  // from which on the bytes say how many bits a q has

// The bits of each of `count` packed q; 0 where no form has so many bytes.
int bits_of(size_t bytes, int64_t count);

struct ExpandedGroups {
  std::vector<std::byte> codes;
  std::string failure;
};
// Of rows of row_size codes, which must fit kInt8Narrow. `packed` has packed_size() bytes, steps
// and zero points have one entry per row and group, groups <= row_size.
ExpandedGroups expand_groups(const GroupCodes& groups, int64_t row_size);

}  // namespace qat::checkpoint
