#include <cstdlib>
#include <string>

#include "error.h"
#include "kernels/cpu/kernels.h"

namespace qat::kernels {
namespace generic {
extern const KernelTable table;
}
#if defined(__x86_64__)
namespace avx2 {
extern const KernelTable table;
}
namespace avx512 {
extern const KernelTable table;
}
#endif
namespace {

struct Candidate {
  const KernelTable* table;
  bool present;
};

// Best first.
const KernelTable& choose() {
  const Candidate candidates[] = {
#if defined(__x86_64__)
    {&avx512::table, __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq")},
    {&avx2::table, __builtin_cpu_supports("avx2") && __builtin_cpu_supports("f16c")},
#endif
    {&generic::table, true},
  };
  const char* forced = std::getenv("QAT_CPU_CAPABILITY");
  for (const Candidate& candidate : candidates) {
    if (forced == nullptr && candidate.present) return *candidate.table;
    if (forced == nullptr || std::string(forced) != candidate.table->name) continue;
    if (candidate.present) return *candidate.table;
    throw Error(std::string("QAT_CPU_CAPABILITY: this machine does not have ") + forced +
                "; unset the variable or name a lower instruction set.");
  }
  throw Error(std::string("QAT_CPU_CAPABILITY: expected generic, avx2 or avx512, got '") + forced +
              "'.");
}

}  // namespace

const KernelTable& kernels() {
  static const KernelTable& chosen = choose();
  return chosen;
}

}  // namespace qat::kernels
