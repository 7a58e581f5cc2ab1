// A damaged file never loads, and never ends in anything but qat::Error.

#include <gtest/gtest.h>

#include "checkpoint/checkpoint.h"
#include "graph/expect_error.h"
#include "graph/models.h"

namespace qat::checkpoint {
namespace {

using testing::message_of;

TEST(Damage, EveryFlippedByteIsRefused) {
  const std::string bytes = serialize(testing::tiny_model());
  for (size_t i = 0; i < bytes.size(); ++i) {
    for (const int mask : {0x01, 0x20, 0x80, 0xff}) {
      std::string damaged = bytes;
      damaged[i] = static_cast<char>(damaged[i] ^ mask);
      const std::string message = message_of([&] { parse(damaged, "flipped"); });
      ASSERT_EQ(message.rfind("flipped: ", 0), 0u) << i << ": " << message;
    }
  }
}

TEST(Damage, EveryTruncationIsRefused) {
  const std::string bytes = serialize(testing::every_operator(3));
  for (size_t size = 0; size < bytes.size(); ++size) {
    const std::string message = message_of([&] { parse(bytes.substr(0, size), "cut"); });
    ASSERT_EQ(message.rfind("cut: ", 0), 0u) << size << ": " << message;
  }
}

TEST(Damage, TrailingBytesAreRefused) {
  const std::string bytes = serialize(testing::tiny_model());
  EXPECT_EQ(message_of([&] { parse(bytes + '\0', "long"); }),
            "long: the file must end with the last tensor, at byte 14 of the data, got 15 bytes "
            "of data");
}

TEST(Damage, AFlippedWeightIsNamedAsDamage) {
  std::string bytes = serialize(testing::tiny_model());
  bytes.back() ^= 1;
  const std::string message = message_of([&] { parse(bytes, "m"); });
  EXPECT_EQ(message.rfind("m: __metadata__: sha256: the file is damaged: it says ", 0), 0u)
      << message;
  EXPECT_NE(message.find("; copy or export it again"), std::string::npos) << message;
}

}  // namespace
}  // namespace qat::checkpoint
