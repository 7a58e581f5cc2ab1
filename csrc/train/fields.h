#pragma once
// Typed, checked reading of one map of a job.

#include <optional>
#include <string>
#include <vector>

#include "nearest.h"
#include "train/yaml_tree.h"

namespace qat::train {

using Words = std::vector<std::string>;

using qat::nearest;

std::string join(const Words& words, const std::string& separator = ", ");

struct Interval {
  double low, high;
  bool low_open = false, high_open = false;
  bool contains(double value) const {
    return (low_open ? value > low : value >= low) && (high_open ? value < high : value <= high);
  }
  std::string text() const;  // "from 0 (not included) to 1"
};

class Fields {
 public:
  // Refuses anything but a map with `known` keys. path is the dotted name of the map, "" at the
  // top.
  Fields(const Node& map, std::string path, Words known);

  const Node* find(const std::string& key) const;  // nullptr: absent
  const Node& require(const std::string& key, const std::string& expected) const;
  std::string path(const std::string& key) const;
  // "<place>: error: <path of key>: <message>"
  [[noreturn]] void fail(const std::string& key, const std::string& message) const;

  int64_t integer(const std::string& key, int64_t fallback, int64_t low, int64_t high) const;
  double number(const std::string& key, double fallback, const Interval& interval) const;
  bool boolean(const std::string& key, bool fallback) const;
  std::string word(const std::string& key, const std::string& fallback) const;
  std::string choice(const std::string& key, const std::string& fallback,
                     const Words& choices) const;
  std::vector<double> numbers(const std::string& key, const Interval& interval) const;
  std::vector<int64_t> integers(const std::string& key, const std::vector<int64_t>& fallback,
                                int64_t low, int64_t high) const;

 private:
  const Node& map_;
  std::string path_;
};

}  // namespace qat::train
