#pragma once
// Numeric tables: one row per sample, one column with the label.

#include <cstdint>
#include <string>
#include <vector>

namespace qat::train {

struct CsvTable {
  int64_t columns = 0;          // features
  std::vector<float> features;  // row-major
  std::vector<int64_t> labels;
  std::vector<int64_t> lines;      // of each row, as an editor counts them
  std::vector<std::string> names;  // of the features; empty without a header row
  int64_t rows() const { return static_cast<int64_t>(labels.size()); }
};

// label: a name of the header row, or the index of the column from 0. Throws qat::Error naming
// file, row (counted as an editor counts lines), column and the value found.
CsvTable read_csv(const std::string& path, const std::string& label, bool header);
CsvTable parse_csv(const std::string& text, const std::string& origin, const std::string& label,
                   bool header);

}  // namespace qat::train
