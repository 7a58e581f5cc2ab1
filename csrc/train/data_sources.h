#pragma once
// The files of a data set, read and checked one by one.

#include <string>
#include <vector>

#include "train/data.h"

namespace qat::train {

struct Loaded {
  Split split;
  std::string origin, label_origin;  // the files to name in messages
  std::vector<std::string> columns;  // of a table with a header row: the features' names
  std::vector<int64_t> lines;        // of a table: where each row stands, as an editor counts

  // "row 7", as messages name it.
  std::string place_of(int64_t row) const;
};

Loaded load_split(const DataSource& source, bool train);

}  // namespace qat::train
