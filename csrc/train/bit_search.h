#pragma once
// Bits per layer under a budget, judged by measurement.

#include <map>
#include <string>
#include <vector>

#include "train/sensitivity.h"

namespace qat::train {

enum class Measure { bytes, bit_operations };

int64_t cost_of(const Sensitivities& table, const std::vector<int>& bits, Measure measure);
// Groups without sensitivities stay at 8 bits, the others get `bits`.
std::vector<int> uniform_bits(const Sensitivities& table, int bits);
// The loss increase that the sensitivities add up to.
double predicted_increase(const Sensitivities& table, const std::vector<int>& bits);

// The bits with the smallest sum of sensitivities among those that cost no more than `budget`;
// exact (search.h). Throws qat::Error naming the smallest budget that can be met.
std::vector<int> find_bits(const Sensitivities& table, Measure measure, int64_t budget);

struct Candidate {
  std::string name;
  std::vector<int> bits;  // per group
  int64_t bytes = 0, bit_operations = 0;
  double increase = 0;            // predicted
  double loss = 0, accuracy = 0;  // on the whole validation split, without training
  int64_t cost(Measure measure) const { return measure == Measure::bytes ? bytes : bit_operations; }
};

class Judge {
 public:
  Judge(const PostTraining& models, const Sensitivities& table) : models_(models), table_(table) {}
  Recipe recipe(const std::vector<int>& bits) const;
  Candidate judge(const std::string& name, const std::vector<int>& bits);

 private:
  const PostTraining& models_;
  const Sensitivities& table_;
  std::map<std::vector<int>, std::pair<double, double>> known_;  // loss, accuracy
};

}  // namespace qat::train
