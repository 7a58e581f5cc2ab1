#pragma once
// Comparing the fast executor with the reference on every instruction set of this machine.

#include "runtime/builder.h"
#include "runtime/fast_executor.h"

namespace qat::runtime::testing {

using kernels::u8s8::instruction_sets;
using kernels::u8s8::InstructionSet;

// Outputs, and every value that the fast executor made.
inline void expect_equal(const Model& model, const std::vector<Tensor>& inputs, int threads = 2) {
  Options options;
  options.threads = threads;
  options.exact_threads = true;
  const auto reference = make_reference_executor(model, options);
  const auto expected = reference->run_all(inputs);
  const auto outputs = reference->run(inputs);
  for (const InstructionSet set : instruction_sets()) {
    SCOPED_TRACE(to_string(set));
    const auto fast = make_fast_executor(model, options, set);
    const auto got = fast->run(inputs);
    ASSERT_EQ(got.size(), outputs.size());
    for (size_t i = 0; i < got.size(); ++i) {
      EXPECT_EQ(got[i].type, outputs[i].type);
      EXPECT_EQ(got[i].shape, outputs[i].shape);
      EXPECT_TRUE(got[i].bytes == outputs[i].bytes) << "output " << i;
    }
    EXPECT_EQ(fast->macs().integer, reference->macs().integer);
    const auto all = fast->run_all(inputs);
    for (size_t i = 0; i < all.size(); ++i) {
      if (all[i].bytes.empty()) continue;  // fused away
      EXPECT_EQ(all[i].shape, expected[i].shape) << "value " << i;
      EXPECT_TRUE(all[i].bytes == expected[i].bytes) << "value " << i;
    }
  }
}

}  // namespace qat::runtime::testing
