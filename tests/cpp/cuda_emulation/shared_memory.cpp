#include "shared_memory.h"

#include <link.h>

#include <cstdint>
#include <cstring>
#include <span>

#include "error.h"

namespace qat::emulation {
namespace {

thread_local volatile char anchor;  // makes the loader allocate this thread's segment

bool holds(const dl_phdr_info& module, const void* address) {
  const auto at = reinterpret_cast<uintptr_t>(address);
  for (const auto& segment : std::span(module.dlpi_phdr, module.dlpi_phnum)) {
    const uintptr_t begin = module.dlpi_addr + segment.p_vaddr;
    if (segment.p_type == PT_LOAD && at >= begin && at < begin + segment.p_memsz) return true;
  }
  return false;
}

int visit(dl_phdr_info* module, size_t, void* found) {
  if (!holds(*module, reinterpret_cast<const void*>(&visit))) return 0;
  for (const auto& segment : std::span(module->dlpi_phdr, module->dlpi_phnum)) {
    if (segment.p_type != PT_TLS || module->dlpi_tls_data == nullptr) continue;
    *static_cast<std::span<std::byte>*>(found) = {static_cast<std::byte*>(module->dlpi_tls_data),
                                                  segment.p_memsz};
  }
  return 1;
}

std::span<std::byte> segment;

}  // namespace

void find_shared_memory() {
  anchor = 1;
  segment = {};
  dl_iterate_phdr(&visit, &segment);
  if (segment.empty()) {
    throw Error("cuda emulation: the memory of __shared__ variables is not found");
  }
}

void fill_shared_memory(std::byte value) {
  std::memset(segment.data(), static_cast<int>(value), segment.size());
}

bool is_shared(const void* memory, size_t bytes) {
  const auto* begin = static_cast<const std::byte*>(memory);
  return begin >= segment.data() && begin + bytes <= segment.data() + segment.size();
}

}  // namespace qat::emulation
