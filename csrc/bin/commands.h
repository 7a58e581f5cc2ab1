#pragma once
// One function per command of qat. Each returns the exit code; mistakes are thrown.

#include <cstdint>
#include <string>
#include <vector>

namespace qat::train {
struct Summary;
}

namespace qat::bin {

enum ExitCode { kDone = 0, kFailed = 1, kBadUsage = 2 };

// Prints the last line of a run; the exit code says whether the int8 model is the trained one.
int conclude(const train::Summary& summary);

int train(const std::string& job, const std::vector<std::string>& overrides);
// what: a job, or a run folder whose float model is used.
int calibrate(const std::string& what, const std::vector<std::string>& overrides);
int resume(const std::string& run);
// An attack on the models of a run; method "": none.
struct AttackChoice {
  std::string method;  // fgsm or pgd
  double epsilon = 0;  // 0: the job's, or 8/255
  int64_t steps = 0;   // of pgd; 0: 10
};
// what: a run folder or an int8 model; job: the data of a model that names none, or "".
int evaluate(const std::string& what, const std::string& job, const AttackChoice& attack);
int verify(const std::string& run, int64_t limit);
int plan(const std::string& job, const std::vector<std::string>& overrides);
int bench(const std::string& model, int64_t threads);
int inspect(const std::string& model);

}  // namespace qat::bin
