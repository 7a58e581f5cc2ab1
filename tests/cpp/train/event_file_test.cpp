#include "train/event_file.h"

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "error.h"

namespace qat::train {
namespace {

// RFC 3720 B.4: CRC-32C of 32 zero bytes is 0x8a9136aa.
TEST(MaskedCrc32c, KnownValue) {
  const std::string zeros(32, '\0');
  const uint32_t crc = 0x8a9136aa;
  EXPECT_EQ(masked_crc32c(zeros.data(), zeros.size()), (crc >> 15 | crc << 17) + 0xa282ead8u);
}

struct Record {
  std::string message;
  bool valid;
};

std::vector<Record> read_records(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream all;
  all << file.rdbuf();
  const std::string bytes = all.str();
  std::vector<Record> records;
  for (size_t at = 0; at < bytes.size();) {
    uint64_t length;
    uint32_t length_crc, message_crc;
    std::memcpy(&length, &bytes[at], 8);
    std::memcpy(&length_crc, &bytes[at + 8], 4);
    const std::string message = bytes.substr(at + 12, length);
    std::memcpy(&message_crc, &bytes[at + 12 + length], 4);
    records.push_back({message, length_crc == masked_crc32c(&bytes[at], 8) &&
                                    message_crc == masked_crc32c(message.data(), length)});
    at += 16 + length;
  }
  return records;
}

class Events : public testing::Test {
 protected:
  void SetUp() override { std::filesystem::remove(path); }
  std::string path = testing::TempDir() + "/events.out.tfevents.test";
};

TEST_F(Events, RecordsAreFramedWithTheirChecksums) {
  EventFile file(path, 0);
  file.scalar("float/loss", 300, 0.5, 1.0);
  const auto records = read_records(path);
  ASSERT_EQ(records.size(), 2u);
  for (const auto& record : records) EXPECT_TRUE(record.valid);
  EXPECT_NE(records[0].message.find("brain.Event:2"), std::string::npos);
  // wall_time 1.0, step 300 = ac 02, summary { value { tag, simple_value 0.5 } }
  EXPECT_EQ(records[1].message,
            std::string("\x09\0\0\0\0\0\0\xf0\x3f\x10\xac\x02\x2a\x13\x0a\x11\x0a\x0a", 18) +
                "float/loss" + std::string("\x15\0\0\0\x3f", 5));
}

TEST_F(Events, AResumedFileLosesWhatCameAfterTheCheckpoint) {
  int64_t kept = 0;
  {
    EventFile file(path, 0);
    file.scalar("a", 1, 1.0, 1.0);
    kept = file.bytes();
    file.scalar("a", 2, 2.0, 2.0);
  }
  EventFile file(path, kept);
  file.scalar("b", 2, 3.0, 3.0);
  const auto records = read_records(path);
  ASSERT_EQ(records.size(), 3u);
  EXPECT_NE(records[2].message.find('b'), std::string::npos);
}

TEST(LogFile, ContinuesAtTheByteItIsTold) {
  const std::string path = testing::TempDir() + "/log";
  std::filesystem::remove(path);
  LogFile(path, 0).append("one\ntwo\n");
  LogFile log(path, 4);
  log.append("three\n");
  EXPECT_EQ(log.bytes(), 10);
  std::ostringstream all;
  all << std::ifstream(path).rdbuf();
  EXPECT_EQ(all.str(), "one\nthree\n");
}

TEST(LogFile, IsNotFilledWithZerosWhenItIsShorterThanItWas) {
  const std::string path = testing::TempDir() + "/short_log";
  std::ofstream(path) << "one\n";
  EXPECT_EQ(LogFile(path, 1000).bytes(), 4);
  EXPECT_EQ(std::filesystem::file_size(path), 4u);
}

std::string append_message(const std::string& path) {
  try {
    LogFile(path, 0).append("one\n");
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(LogFile, NamesTheFileThatCannotBeWritten) {
  EXPECT_EQ(append_message("/dev/full"),
            "/dev/full: cannot write this file: No space left on device");
  EXPECT_EQ(append_message("/nowhere/log"),
            "/nowhere/log: cannot write this file: No such file or directory");
}

}  // namespace
}  // namespace qat::train
