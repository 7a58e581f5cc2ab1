#include "insert/site_name.h"

#include <fnmatch.h>

namespace qat::insert {

bool SiteName::matches(const std::string& pattern) const {
  if (pattern == "<first>") return first;
  if (pattern == "<last>") return last;
  return fnmatch(pattern.c_str(), name.c_str(), 0) == 0;
}

LayerEnds::LayerEnds(const capture::Trace& trace) {
  for (const capture::TraceNode& node : trace.nodes) {
    if (node.kind != capture::Kind::conv && node.kind != capture::Kind::linear) continue;
    if (first == nullptr) first = &node;
    last = &node;
  }
}

SiteName LayerEnds::name_of(const capture::TraceNode& node) const {
  return {node.name, &node == first, &node == last};
}

}  // namespace qat::insert
