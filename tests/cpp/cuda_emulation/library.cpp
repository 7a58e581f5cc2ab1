// The schemas of qat_ext once more, and the switches of the emulation.

#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/library.h>

#include "machine.h"
#include "stand_ins/kernels/cuda/start.cuh"

namespace qat::emulation {
namespace {

void set_schedule(int64_t most_thread_blocks, int64_t turns) {
  TORCH_CHECK_VALUE(most_thread_blocks > 0,
                    "set_schedule: most_thread_blocks: expected a positive number, got ",
                    most_thread_blocks, ".");
  TORCH_CHECK_VALUE(turns >= 0 && turns <= 2, "set_schedule: order: expected 0, 1 or 2, got ",
                    turns, ".");
  kernels::cuda::kMostThreadBlocks = most_thread_blocks;
  order = static_cast<Order>(turns);
}

}  // namespace

TORCH_LIBRARY(qat_ext_CUDA_emulated, m) {
  auto& dispatcher = c10::Dispatcher::singleton();
  for (const auto& name : dispatcher.getAllOpNames()) {
    if (name.name.rfind("qat_ext::", 0) != 0) continue;
    const auto& schema = dispatcher.findSchemaOrThrow(name.name.c_str(), "").schema();
    m.def(schema.cloneWithName(name.name.substr(9), ""));
  }
  m.def("set_schedule(int most_thread_blocks, int order) -> ()", &set_schedule);
}

}  // namespace qat::emulation
