#pragma once
// One function per command of qat. Each returns the exit code; mistakes are thrown.

#include <cstdint>
#include <string>
#include <vector>

namespace qat::bin {

enum ExitCode { kDone = 0, kFailed = 1, kBadUsage = 2 };

int train(const std::string& job, const std::vector<std::string>& overrides);
int resume(const std::string& run);
// what: a run folder or an int8 model; job: the data of a model that names none, or "".
int evaluate(const std::string& what, const std::string& job);
int verify(const std::string& run, int64_t limit);
int plan(const std::string& job, const std::vector<std::string>& overrides);
int bench(const std::string& model, int64_t threads);
int inspect(const std::string& model);

}  // namespace qat::bin
