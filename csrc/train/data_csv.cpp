#include "train/data_csv.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <sstream>

#include "error.h"
#include "train/fields.h"
#include "train/text_file.h"

namespace qat::train {
namespace {

using Row = std::vector<std::string>;

std::string trim(const std::string& text) {
  const auto first = text.find_first_not_of(" \t\r");
  if (first == std::string::npos) return "";
  return text.substr(first, text.find_last_not_of(" \t\r") - first + 1);
}

std::string unquote(const std::string& text) {
  const bool quoted = text.size() >= 2 && text.front() == '"' && text.back() == '"';
  return quoted ? text.substr(1, text.size() - 2) : text;
}

Row split(const std::string& line) {
  Row row;
  std::istringstream cells(line);
  for (std::string cell; std::getline(cells, cell, ',');) row.push_back(unquote(trim(cell)));
  if (!line.empty() && line.back() == ',') row.emplace_back();
  return row;
}

size_t label_column(const std::string& origin, const std::string& label, const Row& first,
                    bool header) {
  if (is_integer(label)) {
    const size_t index = std::strtoull(label.c_str(), nullptr, 10);
    if (index < first.size()) return index;
    throw Error(origin + ": the label is column " + label + ", the file has columns 0 to " +
                std::to_string(first.size() - 1));
  }
  const auto found = std::find(first.begin(), first.end(), label);
  if (header && found != first.end()) return static_cast<size_t>(found - first.begin());
  throw Error(origin + ": no column is named '" + label + "'; the header row has " + join(first));
}

class Reader {
 public:
  Reader(const std::string& origin, size_t columns, size_t label)
      : origin_(origin), columns_(columns), label_(label) {
    table.columns = static_cast<int64_t>(columns) - 1;
  }

  void add(const Row& row, int64_t line) {
    const std::string place = origin_ + ": row " + std::to_string(line);
    if (row.size() != columns_) {
      throw Error(place + ": expected " + std::to_string(columns_) + " columns, found " +
                  std::to_string(row.size()));
    }
    for (size_t column = 0; column < columns_; ++column) {
      const std::string cell = place + ", column " + std::to_string(column) + ": ";
      column == label_ ? add_label(row[column], cell) : add_feature(row[column], cell);
    }
    table.lines.push_back(line);
  }

  void add_names(Row names) {
    names.erase(names.begin() + static_cast<std::ptrdiff_t>(label_));
    table.names = std::move(names);
  }

  CsvTable table;

 private:
  void add_label(const std::string& text, const std::string& cell) {
    if (!is_integer(text) || text.size() > 9 || text[0] == '-') {
      throw Error(cell + "expected a class number from 0, found '" + text + "'");
    }
    table.labels.push_back(std::strtoll(text.c_str(), nullptr, 10));
  }
  void add_feature(const std::string& text, const std::string& cell) {
    char* end = nullptr;
    const float value = std::strtof(text.c_str(), &end);
    if (text.empty() || *end != '\0' || !std::isfinite(value)) {
      throw Error(cell + "expected a finite number, found '" + text + "'");
    }
    table.features.push_back(value);
  }

  const std::string& origin_;
  size_t columns_, label_;
};

}  // namespace

CsvTable parse_csv(const std::string& text, const std::string& origin, const std::string& label,
                   bool header) {
  std::istringstream lines(text);
  std::string line;
  if (!std::getline(lines, line) || trim(line).empty())
    throw Error(origin + ": the first row is empty");
  const Row first = split(line);
  if (first.size() < 2) {
    throw Error(origin + ": expected at least 2 columns separated by ',', found " +
                std::to_string(first.size()));
  }
  Reader reader(origin, first.size(), label_column(origin, label, first, header));
  header ? reader.add_names(first) : reader.add(first, 1);
  for (int64_t number = 2; std::getline(lines, line); ++number) {
    if (!trim(line).empty()) reader.add(split(line), number);
  }
  if (reader.table.labels.empty()) throw Error(origin + ": the file has no rows of data");
  return std::move(reader.table);
}

CsvTable read_csv(const std::string& path, const std::string& label, bool header) {
  return parse_csv(read_text(path), path, label, header);
}

}  // namespace qat::train
