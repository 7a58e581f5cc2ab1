// The C interface, through the shared library that programs without torch link.

#include <cstdio>
#include <cstring>
#include <fstream>
#include <thread>

#include "checkpoint/checkpoint.h"
#include "runtime/builder.h"
#include "runtime/qat_runtime.hpp"

namespace qat::runtime::testing {
namespace {

Model small_model() {
  Builder b;
  Random random(4);
  const int64_t x = b.codes_input(batched({3, 8, 8}), {0.02f, 128});
  const ConvShape first{3, 40, 1, {8, 8}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {0, 0}};
  const int64_t q = b.quantize(b.relu(add_conv(b, random, x, first)), {0.02f, 0});
  const ConvShape second{40, 5, 1, {8, 8}, {1, 1}, {2, 2}, {0, 0}, {1, 1}, {0, 0}};
  b.output(add_conv(b, random, q, second));
  b.model.graph.output_names = {"logits"};
  for (Node& node : b.model.graph.nodes) {  // the weights are random bytes
    if (auto* conv = std::get_if<ConvAttributes>(&node.attributes)) {
      conv->weight_format = numerics::kInt8;
    }
  }
  return b.model;
}

struct Handles {
  qat_model* model = nullptr;
  qat_context* context = nullptr;
  explicit Handles(const std::string& bytes, int threads = 1) {
    EXPECT_EQ(qat_model_load_memory(bytes.data(), bytes.size(), &model), 0) << qat_error();
    EXPECT_EQ(qat_context_create(model, threads, &context), 0) << qat_error();
  }
  ~Handles() {
    qat_context_free(context);
    qat_model_free(model);
  }
};

std::vector<std::byte> run(qat_context* context, const Tensor& input, size_t bytes) {
  std::vector<std::byte> output(bytes);
  const void* inputs[] = {input.bytes.data()};
  void* outputs[] = {output.data()};
  EXPECT_EQ(qat_run(context, input.shape[0], inputs, outputs), 0) << qat_error();
  return output;
}

TEST(CInterface, GivesTheBytesOfTheReference) {
  const Model model = small_model();
  const Handles h(checkpoint::serialize(model), 2);
  Random random(1);
  for (const int64_t batch : {1, 2, 7, 1, 0}) {
    const Tensor input = random.reals({batch, 3, 8, 8}, -3, 3);
    const Tensor expected = make_reference_executor(model)->run({input})[0];
    EXPECT_EQ(run(h.context, input, expected.bytes.size()), expected.bytes) << batch;
  }
}

TEST(CInterface, DescribesInputsAndOutputs) {
  const Handles h(checkpoint::serialize(small_model()));
  EXPECT_EQ(qat_model_input_count(h.model), 1u);
  EXPECT_EQ(qat_model_output_count(h.model), 1u);
  EXPECT_STREQ(qat_model_input_name(h.model, 0), "x");
  EXPECT_STREQ(qat_model_output_name(h.model, 0), "logits");
  EXPECT_EQ(qat_model_input_name(h.model, 1), nullptr);
  qat_tensor_info info;
  ASSERT_EQ(qat_model_output_info(h.model, 0, 6, &info), 0);
  EXPECT_EQ(info.type, QAT_FLOAT32);
  EXPECT_EQ(Sizes(info.shape, info.shape + info.rank), (Sizes{6, 5, 4, 4}));
  EXPECT_EQ(info.bytes, 6u * 5 * 4 * 4 * 4);
  ASSERT_EQ(qat_model_input_info(h.model, 0, 2, &info), 0);
  EXPECT_EQ(Sizes(info.shape, info.shape + info.rank), (Sizes{2, 3, 8, 8}));
}

TEST(CInterface, LoadsFilesAndOutlivesItsModel) {
  const Model model = small_model();
  const std::string path = ::testing::TempDir() + "c_interface.safetensors";
  checkpoint::save(model, path);
  qat_model* loaded = nullptr;
  qat_context* context = nullptr;
  ASSERT_EQ(qat_model_load(path.c_str(), &loaded), 0) << qat_error();
  std::remove(path.c_str());
  ASSERT_EQ(qat_context_create(loaded, 0, &context), 0);
  qat_model_free(loaded);
  const Tensor input = Random(2).reals({2, 3, 8, 8}, -1, 1);
  const Tensor expected = make_reference_executor(model)->run({input})[0];
  EXPECT_EQ(run(context, input, expected.bytes.size()), expected.bytes);
  qat_context_free(context);
}

TEST(CInterface, SaysWhatWentWrong) {
  const Handles h(checkpoint::serialize(small_model()));
  qat_model* model = nullptr;
  EXPECT_NE(qat_model_load("/nowhere/m.safetensors", &model), 0);
  EXPECT_NE(std::string(qat_error()).find("/nowhere/m.safetensors"), std::string::npos);
  EXPECT_NE(qat_model_load_memory("damaged", 7, &model), 0);
  EXPECT_STREQ(qat_error(), "memory: a file has at least 8 bytes, got 7");
  EXPECT_EQ(model, nullptr);
  EXPECT_NE(qat_model_load(nullptr, &model), 0);
  EXPECT_STREQ(qat_error(), "qat_model_load: path: expected a pointer, got null");
  qat_context* context = nullptr;
  EXPECT_NE(qat_context_create(h.model, -1, &context), 0);
  EXPECT_STREQ(qat_error(), "qat_context_create: threads: expected 0 or more, got -1");
  qat_tensor_info info;
  EXPECT_NE(qat_model_input_info(h.model, 3, 1, &info), 0);
  EXPECT_STREQ(qat_error(), "qat_model_input_info: index: expected less than 1, got 3");
  const void* inputs[] = {nullptr};
  void* outputs[] = {&info};
  EXPECT_NE(qat_run(h.context, 1, inputs, outputs), 0);
  EXPECT_STREQ(qat_error(), "qat_run: inputs[0]: expected a pointer, got null");
  EXPECT_NE(qat_run(h.context, -2, inputs, outputs), 0);
  EXPECT_STREQ(qat_error(), "qat_run: batch: expected 0 or more, got -2");
}

TEST(CInterface, RefusesOperatorsOfTorch) {
  Builder b;
  const int64_t x = b.input(ElementType::float32, batched({4}));
  b.output(b.float_node(AtenAttributes{"aten::erf", {{InputArgument{0}}}}, {x}));
  const std::string bytes = checkpoint::serialize(b.model);
  qat_model* model = nullptr;
  EXPECT_NE(qat_model_load_memory(bytes.data(), bytes.size(), &model), 0);
  EXPECT_STREQ(qat_error(),
               "memory: node 'n0' needs the operator aten::erf of torch, which libqat_runtime does "
               "not have; run this model with qat_ext");
}

TEST(CInterface, ContextsRunAtTheSameTime) {
  const Model model = small_model();
  const std::string bytes = checkpoint::serialize(model);
  const Handles shared(bytes);
  std::vector<int> wrong(4, 0);
  std::vector<std::thread> threads;
  for (size_t t = 0; t < wrong.size(); ++t) {
    threads.emplace_back([&, t] {
      const Tensor input =
          Random(static_cast<uint32_t>(t)).reals({static_cast<int64_t>(t) + 1, 3, 8, 8}, -2, 2);
      const Tensor expected = make_reference_executor(model, {1, nullptr})->run({input})[0];
      qat_context* context = nullptr;
      qat_context_create(shared.model, 2, &context);
      for (int i = 0; i < 20; ++i) {
        wrong[t] += run(context, input, expected.bytes.size()) != expected.bytes;
      }
      qat_context_free(context);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, std::vector<int>(4, 0));
}

TEST(CInterface, HeaderForCpp) {
  const Model model = small_model();
  const std::string bytes = checkpoint::serialize(model);
  const auto loaded = qat::RuntimeModel::load(bytes.data(), bytes.size());
  qat::RuntimeContext context(loaded, 1);
  const Tensor input = Random(3).reals({2, 3, 8, 8}, -1, 1);
  const Tensor expected = make_reference_executor(model)->run({input})[0];
  std::vector<std::byte> output(loaded.output(0, 2).bytes);
  context.run(2, {input.bytes.data()}, {output.data()});
  EXPECT_EQ(output, expected.bytes);
  EXPECT_THROW(qat::RuntimeModel::load("/nowhere"), qat::RuntimeError);
}

}  // namespace
}  // namespace qat::runtime::testing
