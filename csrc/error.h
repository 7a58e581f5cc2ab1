#pragma once
// The one exception type that users of qat_ext meet.

#include <stdexcept>
#include <string>

namespace qat {

// what() is a complete sentence for the user: place, rule, value got, and how to mend it.
// It never holds a backtrace.
class Error : public std::runtime_error {
 public:
  explicit Error(const std::string& message) : std::runtime_error(message) {}
};

}  // namespace qat
