// Whole files from and to disk.

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>

#include "checkpoint/safetensors.h"
#include "error.h"

namespace qat::safetensors {
namespace {

[[noreturn]] void fail(const std::string& path, const std::string& action, int error) {
  throw Error(path + ": " + action + ": " + std::strerror(error));
}

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  int get() const { return fd_; }
  // Network file systems report a failed write here at the latest.
  int close() {
    const int result = ::close(fd_);
    fd_ = -1;
    return result;
  }

 private:
  int fd_;
};

// Removes the file when the scope is left before keep().
class TemporaryFile {
 public:
  explicit TemporaryFile(std::string path) : path_(std::move(path)) {}
  ~TemporaryFile() {
    if (!path_.empty()) ::unlink(path_.c_str());
  }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;

  void keep() { path_.clear(); }

 private:
  std::string path_;
};

// Not mkstemp, whose files only their owner may read.
int create_beside(const std::string& path, std::string& name) {
  static std::atomic<unsigned> counter{0};
  for (;;) {
    name = path + ".tmp." + std::to_string(::getpid()) + "." + std::to_string(counter++);
    const int fd = ::open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd >= 0 || errno != EEXIST) return fd;
  }
}

void write_all(int fd, const std::string& bytes, const std::string& path) {
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t count = ::write(fd, bytes.data() + done, bytes.size() - done);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail(path, "cannot write " + std::to_string(bytes.size()) + " bytes", errno);
    done += static_cast<size_t>(count);
  }
}

// After this the new name survives a power failure. EINVAL: a file system that has no such call.
void sync_folder(const std::string& path) {
  const size_t slash = path.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  const Descriptor fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (fd.get() < 0 || (::fsync(fd.get()) != 0 && errno != EINVAL)) {
    fail(path, "written, but its folder cannot be synchronised", errno);
  }
}

// rename() would put a plain file where a device or a pipe was.
void require_replaceable(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) == 0 && !S_ISREG(status.st_mode)) {
    throw Error(path + ": cannot write: a folder or device has this name; choose another");
  }
}

}  // namespace

std::string read_file(const std::string& path) {
  const Descriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (fd.get() < 0) fail(path, "cannot open", errno);
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0) fail(path, "cannot read", errno);
  if (!S_ISREG(status.st_mode)) throw Error(path + ": cannot read: it is not a file");
  std::string bytes;
  try {
    bytes.resize(static_cast<size_t>(status.st_size));
  } catch (const std::exception&) {  // bad_alloc, length_error
    fail(path, "cannot read " + std::to_string(status.st_size) + " bytes", ENOMEM);
  }
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t count = ::read(fd.get(), bytes.data() + done, bytes.size() - done);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail(path, "cannot read", errno);
    if (count == 0) break;  // truncated while being read; the parser says what is missing
    done += static_cast<size_t>(count);
  }
  bytes.resize(done);
  return bytes;
}

void write_file(const std::string& path, const std::string& bytes) {
  require_replaceable(path);
  std::string temporary;
  Descriptor fd(create_beside(path, temporary));
  if (fd.get() < 0) fail(path, "cannot create a file in its folder", errno);
  TemporaryFile cleanup(temporary);
  write_all(fd.get(), bytes, path);
  if (::fsync(fd.get()) != 0) fail(path, "cannot write to disk", errno);
  if (fd.close() != 0) fail(path, "cannot write to disk", errno);
  if (::rename(temporary.c_str(), path.c_str()) != 0) fail(path, "cannot replace", errno);
  cleanup.keep();
  sync_folder(path);
}

}  // namespace qat::safetensors
