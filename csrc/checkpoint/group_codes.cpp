#include "checkpoint/group_codes.h"

#include <algorithm>
#include <numeric>

#include "checkpoint/packing.h"
#include "numerics/weight_groups.h"

namespace qat::checkpoint {
namespace {

constexpr int kMaxGroupBits = 7;       // 8 bits are what the codes have themselves
constexpr int64_t kSmallestGroup = 4;  // smaller ones would not make the file smaller
constexpr int kZeroStep = 1;           // of a group of zeros

// What the codes of a group have in common; zero is always one of them.
struct Group {
  int lowest = 0, highest = 0, step = 0;

  void add(int code) {
    lowest = std::min(lowest, code);
    highest = std::max(highest, code);
    if (step != 1) step = std::gcd(step, code);
  }
  int used_step() const { return step == 0 ? kZeroStep : step; }
  int zero_point() const { return -lowest / used_step(); }
  int signed_bits() const {
    int bits = numerics::kMinBits;
    while (highest / used_step() >= 1 << (bits - 1) || -lowest / used_step() > 1 << (bits - 1)) {
      ++bits;
    }
    return bits;
  }
  int unsigned_bits() const {
    int bits = numerics::kMinBits;
    while ((highest - lowest) / used_step() >= 1 << bits) ++bits;
    return bits;
  }
};

int code_at(const std::vector<std::byte>& codes, int64_t i) {
  return static_cast<int8_t>(codes[static_cast<size_t>(i)]);
}

// The groups of all rows, one row after the other. Empty where one of them needs 8 bits: weights
// without groups, which are most, are given up within their first row.
std::vector<Group> groups_of(const std::vector<std::byte>& codes, int64_t rows,
                             numerics::GroupLayout layout) {
  const int64_t row_size = static_cast<int64_t>(codes.size()) / rows;
  std::vector<Group> groups;
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t first = 0; first < row_size; first += layout.size) {
      Group& group = groups.emplace_back();
      const int64_t end = std::min(first + layout.size, row_size);
      for (int64_t i = first; i < end; ++i) group.add(code_at(codes, row * row_size + i));
      if (group.signed_bits() > kMaxGroupBits && group.unsigned_bits() > kMaxGroupBits) return {};
    }
  }
  return groups;
}

size_t size_of(size_t codes, int bits, size_t groups, bool zero_points) {
  const size_t tables = zero_points ? 2 : 1;
  return *packed_size(static_cast<int64_t>(codes), bits) + tables * (groups + kEntryBytes);
}

template <int (Group::*bits)() const>
int most_bits(const std::vector<Group>& groups) {
  int most = numerics::kMinBits;
  for (const Group& group : groups) most = std::max(most, (group.*bits)());
  return most;
}

// One way of cutting rows into groups, with or without zero points.
struct Choice {
  numerics::GroupLayout layout;
  numerics::IntFormat format;
  size_t bytes;
};

void consider(const std::vector<std::byte>& codes, int64_t rows, numerics::GroupLayout layout,
              std::optional<Choice>& best, size_t limit) {
  const std::vector<Group> groups = groups_of(codes, rows, layout);
  if (groups.empty()) return;
  for (const bool is_signed : {true, false}) {
    const int bits = is_signed ? most_bits<&Group::signed_bits>(groups)
                               : most_bits<&Group::unsigned_bits>(groups);
    const size_t bytes = size_of(codes.size(), bits, groups.size(), !is_signed);
    if (bits > kMaxGroupBits || bytes >= (best ? best->bytes : limit)) continue;
    best = Choice{layout, {bits, is_signed, false}, bytes};
  }
}

GroupCodes encode(const std::vector<std::byte>& codes, int64_t rows, const Choice& choice) {
  const int64_t row_size = static_cast<int64_t>(codes.size()) / rows;
  const std::vector<Group> groups = groups_of(codes, rows, choice.layout);
  GroupCodes made{rows, choice.layout.count, choice.format, {}, {}, {}};
  for (const Group& group : groups) {
    made.steps.push_back(static_cast<uint8_t>(group.used_step()));
    if (choice.format.is_signed) continue;
    made.zero_points.push_back(static_cast<uint8_t>(group.zero_point()));
  }
  std::vector<std::byte> steps(codes.size());
  for (int64_t i = 0; i < static_cast<int64_t>(codes.size()); ++i) {
    const int64_t g = i / row_size * made.groups + i % row_size / choice.layout.size;
    const Group& group = groups[static_cast<size_t>(g)];
    const int zero_point = choice.format.is_signed ? 0 : group.zero_point();
    steps[static_cast<size_t>(i)] =
        static_cast<std::byte>(code_at(codes, i) / group.used_step() + zero_point);
  }
  made.packed = pack(steps, choice.format);
  return made;
}

}  // namespace

std::optional<GroupCodes> encode_groups(const std::vector<std::byte>& codes, int64_t rows,
                                        size_t limit) {
  if (rows == 0 || codes.size() < static_cast<size_t>(kFewestGroupCodes)) return std::nullopt;
  const int64_t row_size = static_cast<int64_t>(codes.size()) / rows;
  std::optional<Choice> best;
  for (int64_t wanted = kSmallestGroup; wanted < row_size; wanted *= 2) {
    consider(codes, rows, numerics::group_layout(row_size, wanted), best, limit);
  }
  consider(codes, rows, numerics::group_layout(row_size, row_size), best, limit);
  if (!best) return std::nullopt;
  return encode(codes, rows, *best);
}

size_t size_of(const GroupCodes& groups) {
  return groups.packed.size() + groups.steps.size() + groups.zero_points.size() +
         (groups.zero_points.empty() ? 1 : 2) * kEntryBytes;
}

int bits_of(size_t bytes, int64_t count) {
  if (count < kFewestGroupCodes) return 0;
  // Rounding up to whole bytes adds fewer than 8 bits.
  const auto bits = static_cast<int64_t>(bytes * 8) / count;
  return bits >= numerics::kMinBits && bits <= kMaxGroupBits ? static_cast<int>(bits) : 0;
}

ExpandedGroups expand_groups(const GroupCodes& groups, int64_t row_size) {
  const int64_t count = groups.rows * row_size;
  auto codes = unpack(groups.packed, count, groups.format);
  if (!codes) return {{}, "the unused bits of the last byte must be zero"};
  const int64_t size = numerics::group_size(row_size, groups.groups);
  for (int64_t i = 0; i < count; ++i) {
    const auto g = static_cast<size_t>(i / row_size * groups.groups + i % row_size / size);
    const int zero_point = groups.zero_points.empty() ? 0 : groups.zero_points[g];
    std::byte& code = (*codes)[static_cast<size_t>(i)];
    const int value = groups.steps[g] * (static_cast<int8_t>(code) - zero_point);
    if (value < numerics::kInt8Narrow.quant_min() || value > numerics::kInt8Narrow.quant_max()) {
      return {{},
              "step times code is " + std::to_string(value) + " at element " + std::to_string(i) +
                  "; expected -127 to 127"};
    }
    code = static_cast<std::byte>(value);
  }
  return {std::move(*codes), ""};
}

}  // namespace qat::checkpoint
