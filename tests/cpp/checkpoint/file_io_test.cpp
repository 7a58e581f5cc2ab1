#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "checkpoint/checkpoint.h"
#include "checkpoint/safetensors.h"
#include "graph/expect_error.h"
#include "graph/models.h"

namespace qat::safetensors {
namespace {

namespace fs = std::filesystem;
using testing::message_of;

class FileIo : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "qat_file_io_XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override {
    fs::permissions(folder_, fs::perms::owner_all);
    fs::remove_all(folder_);
  }
  std::string path(const std::string& name) const { return (folder_ / name).string(); }
  std::vector<std::string> names() const {
    std::vector<std::string> found;
    for (const auto& entry : fs::directory_iterator(folder_))
      found.push_back(entry.path().filename());
    return found;
  }

  fs::path folder_;
};

// A resource limit of this process while the object lives.
class Limit {
 public:
  Limit(__rlimit_resource resource, rlim_t amount) : resource_(resource) {
    ::getrlimit(resource_, &before_);
    const rlimit limit{amount, before_.rlim_max};
    ::setrlimit(resource_, &limit);
  }
  ~Limit() { ::setrlimit(resource_, &before_); }
  Limit(const Limit&) = delete;
  Limit& operator=(const Limit&) = delete;

 private:
  __rlimit_resource resource_;
  rlimit before_{};
};

TEST_F(FileIo, WritesAndReads) {
  const std::string bytes("a\0b\n\xff", 5);
  write_file(path("a"), bytes);
  EXPECT_EQ(read_file(path("a")), bytes);
  write_file(path("a"), "");
  EXPECT_EQ(read_file(path("a")), "");
  EXPECT_EQ(names(), std::vector<std::string>{"a"});
}

TEST_F(FileIo, WritesIntoTheWorkingFolder) {
  const fs::path before = fs::current_path();
  fs::current_path(folder_);
  write_file("plain", "x");
  fs::current_path(before);
  EXPECT_EQ(read_file(path("plain")), "x");
}

TEST_F(FileIo, NewFilesFollowTheUmask) {
  const mode_t before = ::umask(027);
  write_file(path("a"), "x");
  ::umask(before);
  EXPECT_EQ(fs::status(path("a")).permissions(), fs::perms{0640});
}

TEST_F(FileIo, AFailedWriteLeavesTheOldFileAlone) {
  write_file(path("m"), "old");
  // Without the signal a write beyond the limit fails with EFBIG, as it does on a full disk.
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  std::string message;
  {
    const Limit limit(RLIMIT_FSIZE, 4096);
    message = message_of([&] { write_file(path("m"), std::string(100000, 'x')); });
  }
  std::signal(SIGXFSZ, handler);
  EXPECT_EQ(message, path("m") + ": cannot write 100000 bytes: File too large");
  EXPECT_EQ(read_file(path("m")), "old");
  EXPECT_EQ(names(), std::vector<std::string>{"m"});
}

TEST_F(FileIo, MissingFolder) {
  EXPECT_EQ(message_of([&] { write_file(path("no/m"), "x"); }),
            path("no/m") + ": cannot create a file in its folder: No such file or directory");
  EXPECT_EQ(message_of([&] { read_file(path("no/m")); }),
            path("no/m") + ": cannot open: No such file or directory");
}

TEST_F(FileIo, ReadOnlyFolder) {
  write_file(path("m"), "old");
  fs::permissions(folder_, fs::perms{0555});
  const bool is_root = ::geteuid() == 0;  // root may write anywhere: act as nobody
  ASSERT_EQ(is_root ? ::seteuid(65534) : 0, 0);
  const std::string message = message_of([&] { write_file(path("m"), "new"); });
  ASSERT_EQ(is_root ? ::seteuid(0) : 0, 0);
  EXPECT_EQ(message, path("m") + ": cannot create a file in its folder: Permission denied");
  EXPECT_EQ(read_file(path("m")), "old");
}

TEST_F(FileIo, FoldersAndDevicesAreNotFiles) {
  const std::string rule = ": cannot write: a folder or device has this name; choose another";
  EXPECT_EQ(message_of([&] { write_file(folder_.string(), "x"); }), folder_.string() + rule);
  EXPECT_EQ(message_of([] { write_file("/dev/full", "x"); }), "/dev/full" + rule);
  EXPECT_TRUE(fs::is_character_file("/dev/full"));
  EXPECT_EQ(message_of([&] { read_file(folder_.string()); }),
            folder_.string() + ": cannot read: it is not a file");
  EXPECT_EQ(message_of([] { read_file("/dev/zero"); }), "/dev/zero: cannot read: it is not a file");
}

TEST_F(FileIo, AFileLargerThanMemoryIsRefused) {
  std::ofstream(path("huge")).close();
  std::error_code error;
  fs::resize_file(path("huge"), uintmax_t{1} << 42, error);  // sparse: takes no room on disk
  if (error) GTEST_SKIP() << "no sparse files here: " << error.message();
  const Limit limit(RLIMIT_AS, rlim_t{1} << 36);
  EXPECT_EQ(message_of([&] { checkpoint::load(path("huge")); }),
            path("huge") + ": cannot read 4398046511104 bytes: Cannot allocate memory");
}

TEST_F(FileIo, CheckpointsAreSavedAndLoaded) {
  const graph::Model model = testing::every_operator(4);
  checkpoint::save(model, path("m.safetensors"));
  EXPECT_EQ(checkpoint::serialize(checkpoint::load(path("m.safetensors"))),
            checkpoint::serialize(model));
  std::ofstream(path("m.safetensors"), std::ios::app) << "x";
  const std::string message = message_of([&] { checkpoint::load(path("m.safetensors")); });
  EXPECT_EQ(message.rfind(path("m.safetensors") + ": the file must end with the last tensor", 0),
            0u)
      << message;
}

}  // namespace
}  // namespace qat::safetensors
