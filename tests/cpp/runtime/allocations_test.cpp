// Every operator runs in planned memory and gives the bits of the reference executor.

#include <set>

#include "runtime/compare.h"
#include "runtime/count_allocations.h"
#include "runtime/fast_executor.h"
#include "runtime/samples.h"

namespace qat::runtime::testing {
namespace {

// Outputs of one call, and what it allocated besides.
struct Call {
  std::vector<Tensor> outputs;
  int64_t allocated = 0;
};

Call call(FastExecutor& executor, const std::vector<Tensor>& like, int64_t batch,
          const std::vector<Tensor>& inputs, int threads) {
  Call made{like, 0};
  std::vector<const void*> from;
  for (const Tensor& input : inputs) from.push_back(input.bytes.data());
  std::vector<void*> to;
  for (Tensor& output : made.outputs) {
    std::fill(output.bytes.begin(), output.bytes.end(), std::byte{0xA5});
    to.push_back(output.bytes.data());
  }
  const int64_t before = allocations();
  executor.run_on(batch, from.data(), to.data(), threads);
  made.allocated = allocations() - before;
  return made;
}

template <size_t... kinds>
std::vector<std::string> missing_kinds(std::index_sequence<kinds...>) {
  std::set<size_t> sampled;
  for (const Sample& sample : all_samples()) {
    for (const Node& node : sample.model.graph.nodes) sampled.insert(node.attributes.index());
  }
  std::vector<std::string> missing;
  const auto look = [&](const Attributes& attributes) {
    if (std::holds_alternative<AtenAttributes>(attributes)) return;  // results are ATen's own
    if (sampled.count(attributes.index()) == 0) missing.push_back(operator_name(attributes));
  };
  (look(Attributes(std::in_place_index<kinds>)), ...);
  return missing;
}

TEST(Samples, EveryKindOfNodeHasOne) {
  EXPECT_EQ(missing_kinds(std::make_index_sequence<std::variant_size_v<Attributes>>()),
            std::vector<std::string>{});
}

TEST(FastExecutor, NoOperatorAllocatesAfterTheFirstCall) {
  for (const Sample& sample : all_samples()) {
    const auto reference = make_reference_executor(sample.model, {1, nullptr});
    const auto fast = make_fast_executor(sample.model, {1, nullptr, /*exact_threads=*/true},
                                         kernels::u8s8::best_instruction_set());
    for (const int64_t batch : {1, 3, 40}) {
      const std::vector<Tensor> inputs = random_inputs(sample.model.graph, batch);
      const std::vector<Tensor> expected = reference->run(inputs);
      for (const int threads : {1, 2, 3, 4}) {
        SCOPED_TRACE(sample.name + ", batch " + std::to_string(batch) + ", threads " +
                     std::to_string(threads));
        call(*fast, expected, batch, inputs, threads);
        const Call second = call(*fast, expected, batch, inputs, threads);
        EXPECT_EQ(second.allocated, 0);
        for (size_t i = 0; i < expected.size(); ++i) {
          EXPECT_TRUE(second.outputs[i].bytes == expected[i].bytes) << "output " << i;
        }
      }
    }
  }
}

TEST(FastExecutor, EveryOperatorEqualsTheReferenceInEveryValue) {
  for (const Sample& sample : all_samples()) {
    SCOPED_TRACE(sample.name);
    for (const int64_t batch : {0, 1, 3}) {
      expect_equal(sample.model, random_inputs(sample.model.graph, batch));
    }
  }
}

}  // namespace
}  // namespace qat::runtime::testing
