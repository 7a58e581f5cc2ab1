#include "copies.h"

#include <cstdint>
#include <cstring>
#include <vector>

#include "machine.h"
#include "shared_memory.h"

namespace qat::emulation {
namespace {

bool is_multiple(const void* address, size_t of) {
  return reinterpret_cast<uintptr_t>(address) % of == 0;
}

}  // namespace

void copy_to_shared(void* shared, const void* global, size_t bytes) {
  if (!is_multiple(shared, bytes) || !is_multiple(global, bytes)) {
    report("cp.async: expected addresses that are multiples of " + std::to_string(bytes));
  }
  if (!is_shared(shared, bytes)) report("cp.async: expected a __shared__ variable");
  if (order == Order::forward) {
    copies_of_thread().open.push_back({shared, global, bytes});
  } else {
    std::memcpy(shared, global, bytes);
  }
}

void end_group_of_copies() {
  auto& copies = copies_of_thread();
  copies.groups.push_back(std::move(copies.open));
  copies.open.clear();
}

void wait_for_copies(size_t newest) {
  auto& groups = copies_of_thread().groups;
  while (groups.size() > newest) {
    for (const auto& copy : groups.front()) std::memcpy(copy.to, copy.from, copy.bytes);
    groups.erase(groups.begin());
  }
}

}  // namespace qat::emulation
