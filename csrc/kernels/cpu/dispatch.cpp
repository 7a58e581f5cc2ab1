#include <array>
#include <cstdlib>
#include <string>

#include "error.h"
#include "kernels/cpu/tables.h"

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
  const char* name;
  const KernelTable* table;  // null: not on this machine
};

#if defined(__x86_64__)
const KernelTable* avx512_table() {
  const bool present = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                       __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
  return present ? &avx512::table : nullptr;
}

const KernelTable* avx2_table() {
  const bool present = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("f16c") &&
                       __builtin_cpu_supports("fma");
  return present ? &avx2::table : nullptr;
}

const KernelTable* neon_table() { return nullptr; }
#else
const KernelTable* avx512_table() { return nullptr; }
const KernelTable* avx2_table() { return nullptr; }

// The code of `generic`, which is compiled to NEON, under a name that stands for the products of
// gemm_u8s8_neon.h too.
const KernelTable* neon_table() {
#if defined(__aarch64__)
  static const KernelTable table = [] {
    KernelTable named = generic::table;
    named.name = "neon";
    return named;
  }();
  return &table;
#else
  return nullptr;
#endif
}
#endif

// Best first.
std::array<Candidate, 4> candidates() {
  return {{{"avx512", avx512_table()},
           {"avx2", avx2_table()},
           {"neon", neon_table()},
           {"generic", &generic::table}}};
}

const KernelTable& choose() {
  const char* forced = std::getenv("QAT_CPU_CAPABILITY");
  for (const Candidate& candidate : candidates()) {
    if (forced == nullptr && candidate.table != nullptr) return *candidate.table;
    if (forced == nullptr || std::string(forced) != candidate.name) continue;
    if (candidate.table != nullptr) return *candidate.table;
    throw Error(std::string("QAT_CPU_CAPABILITY: this machine does not have ") + forced +
                "; unset the variable or name another instruction set.");
  }
  throw Error(std::string("QAT_CPU_CAPABILITY: expected generic, avx2, avx512 or neon, got '") +
              forced + "'.");
}

}  // namespace

const KernelTable& kernels() {
  static const KernelTable& chosen = choose();
  return chosen;
}

std::vector<const KernelTable*> available_tables() {
  std::vector<const KernelTable*> found;
  for (const Candidate& candidate : candidates()) {
    if (candidate.table != nullptr) found.push_back(candidate.table);
  }
  return found;
}

}  // namespace qat::kernels
