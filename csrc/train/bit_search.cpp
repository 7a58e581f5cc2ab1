#include "train/bit_search.h"

#include <algorithm>

#include "error.h"
#include "train/search.h"

namespace qat::train {
namespace {

int64_t cost_of(const BitGroup& group, int bits, Measure measure) {
  return measure == Measure::bytes ? group.bytes(bits) : group.bit_operations(bits);
}

std::vector<BitGroup> groups_of(const Sensitivities& table) {
  std::vector<BitGroup> groups;
  for (const GroupSensitivity& one : table.groups) groups.push_back(one.group);
  return groups;
}

std::vector<Choice> choices_of(const Sensitivities& table, const GroupSensitivity& one,
                               Measure measure) {
  if (one.values.empty()) return {{cost_of(one.group, kMostBits, measure), 0.0}};
  std::vector<Choice> choices;
  for (size_t k = 0; k < table.bits.size(); ++k) {
    choices.push_back({cost_of(one.group, table.bits[k], measure), one.values[k]});
  }
  return choices;
}

}  // namespace

int64_t cost_of(const Sensitivities& table, const std::vector<int>& bits, Measure measure) {
  int64_t sum = 0;
  for (size_t i = 0; i < table.groups.size(); ++i) {
    sum += cost_of(table.groups[i].group, bits.at(i), measure);
  }
  return sum;
}

std::vector<int> uniform_bits(const Sensitivities& table, int bits) {
  std::vector<int> all;
  for (const GroupSensitivity& one : table.groups) {
    all.push_back(one.values.empty() ? kMostBits : bits);
  }
  return all;
}

double predicted_increase(const Sensitivities& table, const std::vector<int>& bits) {
  double sum = 0;
  for (size_t i = 0; i < table.groups.size(); ++i) {
    const auto at = std::find(table.bits.begin(), table.bits.end(), bits.at(i));
    if (table.groups[i].values.empty() || at == table.bits.end()) continue;
    sum += table.groups[i].values[static_cast<size_t>(at - table.bits.begin())];
  }
  return table.increase(sum);
}

std::vector<int> find_bits(const Sensitivities& table, Measure measure, int64_t budget) {
  std::vector<std::vector<Choice>> layers;
  for (const GroupSensitivity& one : table.groups) {
    layers.push_back(choices_of(table, one, measure));
  }
  const std::vector<size_t> chosen = choose(layers, budget);
  std::vector<int> bits;
  for (size_t i = 0; i < chosen.size(); ++i) {
    bits.push_back(table.groups[i].values.empty() ? kMostBits : table.bits[chosen[i]]);
  }
  return bits;
}

Recipe Judge::recipe(const std::vector<int>& bits) const {
  return with_bits(models_.base(), groups_of(table_), bits);
}

Candidate Judge::judge(const std::string& name, const std::vector<int>& bits) {
  auto known = known_.find(bits);
  if (known == known_.end()) {
    const Evaluation found = models_.evaluate(recipe(bits), *models_.session().validation);
    known = known_.emplace(bits, std::pair{found.loss(), found.accuracy()}).first;
  }
  return {.name = name,
          .bits = bits,
          .bytes = cost_of(table_, bits, Measure::bytes),
          .bit_operations = cost_of(table_, bits, Measure::bit_operations),
          .increase = predicted_increase(table_, bits),
          .loss = known->second.first,
          .accuracy = known->second.second};
}

}  // namespace qat::train
