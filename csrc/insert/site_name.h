#pragma once
// Which sites a recipe's rule means.

#include <string>

#include "capture/trace.h"

namespace qat::insert {

// What a rule's pattern is held against.
struct SiteName {
  std::string name;
  bool first = false, last = false;  // of the layers with weights, or what such a layer reads
  bool matches(const std::string& pattern) const;
};

// The first and the last layer with weights, which low-bit recipes treat differently.
struct LayerEnds {
  explicit LayerEnds(const capture::Trace& trace);
  SiteName name_of(const capture::TraceNode& node) const;
  const capture::TraceNode* first = nullptr;
  const capture::TraceNode* last = nullptr;
};

}  // namespace qat::insert
