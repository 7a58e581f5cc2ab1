#include "train/job_changes.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

namespace qat::train {
namespace {

using Json = nlohmann::json;

Json flat(const Job& job) { return to_json(parse_yaml(to_yaml(job), "job")).flatten(); }

bool is_path(const std::string& key) {
  static const std::set<std::string> paths = {"name",
                                              "run",
                                              "weights",
                                              "distill.teacher",
                                              "data.root",
                                              "data.train",
                                              "data.test",
                                              "data.train_images",
                                              "data.train_labels",
                                              "data.test_images",
                                              "data.test_labels"};
  return paths.contains(key);
}

std::string value_of(const Json& keys, const std::string& pointer) {
  const auto found = keys.find(pointer);
  return found == keys.end() ? "absent" : found->dump();
}

}  // namespace

Words changes_between(const Job& then, const Job& now) {
  const Json before = flat(then), after = flat(now);
  std::set<std::string> pointers;
  for (const Json* keys : {&before, &after}) {
    for (const auto& [pointer, value] : keys->items()) pointers.insert(pointer);
  }
  Words changes;
  for (const std::string& pointer : pointers) {
    std::string key = pointer.substr(1);
    std::replace(key.begin(), key.end(), '/', '.');
    const std::string was = value_of(before, pointer), is = value_of(after, pointer);
    if (was != is && !is_path(key)) changes.push_back(key + " was " + was + ", is " + is);
  }
  return changes;
}

}  // namespace qat::train
