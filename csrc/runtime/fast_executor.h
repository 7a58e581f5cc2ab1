#pragma once
// The fast executor with a chosen instruction set, and on buffers of the caller.

#include "kernels/cpu/gemm_u8s8.h"
#include "runtime/executor.h"

namespace qat::runtime {

class FastExecutor : public Executor {
 public:
  // The same as run() without tensors in between: one pointer per graph input and output, shapes
  // those of the graph at `batch`. Number and shapes are the caller's responsibility.
  // threads: as Options::threads.
  virtual void run_on(int64_t batch, const void* const* inputs, void* const* outputs,
                      int threads) = 0;
};

std::unique_ptr<FastExecutor> make_fast_executor(const graph::Model& model, Options options,
                                                 kernels::u8s8::InstructionSet set);

}  // namespace qat::runtime
