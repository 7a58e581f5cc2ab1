// Kernels are compiled with checks of their addresses, indices and sums. The compiler's own library
// would end the process or print; these handlers fail the launch instead. Their names and
// arguments are those that GCC and clang emit.

#include <cstdint>
#include <string>

#include "machine.h"

namespace {

struct Place {
  const char* file;
  uint32_t line, column;
};

struct Access {
  Place place;
  const void* type;
  unsigned char alignment_bits, kind;
};

void report(const Place& place, const std::string& what) {
  qat::emulation::report(std::string(place.file) + ":" + std::to_string(place.line) + ": " + what);
}

}  // namespace

#define QAT_HANDLER extern "C" __attribute__((visibility("hidden"))) void

QAT_HANDLER __ubsan_handle_type_mismatch_v1(const Access* access, uintptr_t address) {
  const auto alignment = std::to_string(1u << access->alignment_bits);
  report(access->place, "expected an address that is a multiple of " + alignment + ", got one of " +
                            std::to_string(address & -address) + " bytes at the most");
}

QAT_HANDLER __ubsan_handle_out_of_bounds(const Place* place, uintptr_t index) {
  report(*place, "the index " + std::to_string(index) + " leaves the array");
}

QAT_HANDLER __ubsan_handle_add_overflow(const Place* place, uintptr_t, uintptr_t) {
  report(*place, "the sum leaves its integer type");
}

QAT_HANDLER __ubsan_handle_sub_overflow(const Place* place, uintptr_t, uintptr_t) {
  report(*place, "the difference leaves its integer type");
}

QAT_HANDLER __ubsan_handle_mul_overflow(const Place* place, uintptr_t, uintptr_t) {
  report(*place, "the product leaves its integer type");
}

QAT_HANDLER __ubsan_handle_negate_overflow(const Place* place, uintptr_t) {
  report(*place, "the negative leaves its integer type");
}

QAT_HANDLER __ubsan_handle_divrem_overflow(const Place* place, uintptr_t, uintptr_t) {
  report(*place, "the quotient leaves its integer type");
}
