#include "runtime/builder.h"

namespace qat::runtime::testing {
namespace {

// x: float32[B, 3, 28, 28]; mask: int64[B, 5].
Model two_inputs() {
  Builder b;
  const int64_t x = b.input(ElementType::float32, batched({3, 28, 28}), "x");
  b.input(ElementType::int64, batched({5}), "mask");
  b.output(b.relu(x));
  return b.model;
}

Tensor zeros(TensorType type, Sizes shape) {
  Tensor tensor{type, std::move(shape), {}};
  tensor.bytes.resize(static_cast<size_t>(tensor.numel()) * element_size(type));
  return tensor;
}

using Make = std::unique_ptr<Executor> (*)(const Model&, Options);
std::unique_ptr<Executor> fast(const Model& m, Options o) { return make_fast_executor(m, o); }
std::unique_ptr<Executor> reference(const Model& m, Options o) {
  return make_reference_executor(m, o);
}

class InputChecks : public ::testing::TestWithParam<Make> {
 protected:
  std::string error(std::vector<Tensor> inputs) {
    return error_of([&] { GetParam()(two_inputs(), {})->run(inputs); });
  }
  const Tensor mask_ = zeros(TensorType::int64, {4, 5});
};

TEST_P(InputChecks, AcceptsAnyBatch) {
  for (const int64_t batch : {0, 1, 7}) {
    const auto out = GetParam()(two_inputs(), {})
                         ->run({zeros(TensorType::float32, {batch, 3, 28, 28}),
                                zeros(TensorType::int64, {batch, 5})});
    EXPECT_EQ(out[0].shape, (Sizes{batch, 3, 28, 28}));
  }
}

TEST_P(InputChecks, Number) { EXPECT_EQ(error({mask_}), "expected 2 inputs, got 1"); }

TEST_P(InputChecks, Size) {
  EXPECT_EQ(error({zeros(TensorType::float32, {4, 3, 32, 32}), mask_}),
            "input 0 ('x'): expected shape [B, 3, 28, 28], got [4, 3, 32, 32]");
}

TEST_P(InputChecks, Rank) {
  EXPECT_EQ(error({zeros(TensorType::float32, {3, 28, 28}), mask_}),
            "input 0 ('x'): expected shape [B, 3, 28, 28], got [3, 28, 28]");
}

TEST_P(InputChecks, Type) {
  EXPECT_EQ(error({zeros(TensorType::uint8, {4, 3, 28, 28}), mask_}),
            "input 0 ('x'): expected float32, got uint8");
}

TEST_P(InputChecks, BatchesAgree) {
  EXPECT_EQ(error({zeros(TensorType::float32, {3, 3, 28, 28}), mask_}),
            "input 1 ('mask'): expected shape [B, 5] with B = 3 from input 0 ('x'), got [4, 5]");
}

TEST_P(InputChecks, Bytes) {
  Tensor x = zeros(TensorType::float32, {1, 3, 28, 28});
  x.bytes.resize(100);
  EXPECT_EQ(error({x, zeros(TensorType::int64, {1, 5})}),
            "input 0 ('x'): shape [1, 3, 28, 28] of float32 takes 9408 bytes, got 100");
}

TEST_P(InputChecks, BatchFromAnAffineSize) {
  Builder b;
  const int64_t x = b.input(ElementType::float32, {{2, 1}, {0, 3}}, "x");
  b.output(b.relu(x));
  const auto executor = GetParam()(b.model, {});
  EXPECT_EQ(executor->run({zeros(TensorType::float32, {7, 3})})[0].shape, (Sizes{7, 3}));
  EXPECT_EQ(error_of([&] {
              executor->run({zeros(TensorType::float32, {6, 3})});
            }),
            "input 0 ('x'): expected shape [2*B+1, 3], got [6, 3]");
}

TEST_P(InputChecks, AtenNodeWithoutEvaluator) {
  Builder b;
  const int64_t x = b.input(ElementType::float32, batched({3}));
  AtenAttributes softmax{"aten::softmax.int", {}};
  b.output(b.float_node(softmax, {x}));
  EXPECT_EQ(error_of([&] { GetParam()(b.model, {}); }),
            "node 'n0' (aten): 'aten::softmax.int' is evaluated by ATen, which this executor was "
            "built without; run the model through qat_ext, or set Options::aten");
}

TEST_P(InputChecks, AtenNodeGetsItsInputs) {
  Builder b;
  const int64_t x = b.input(ElementType::float32, batched({2}));
  const int64_t w = b.input(ElementType::float32, {{0, 3}, {0, 2}}, "w");
  b.output(b.float_node(AtenAttributes{"aten::linear", {}}, {x, w}, batched({3})));
  Options options;
  options.aten = [](const AtenAttributes& a, const std::vector<const Tensor*>& inputs,
                    int64_t batch) {
    EXPECT_EQ(a.schema, "aten::linear");
    EXPECT_EQ(inputs.size(), 2u);
    EXPECT_EQ(batch, 4);
    return std::vector<Tensor>{zeros(TensorType::float32, {4, 3})};
  };
  const auto executor = GetParam()(b.model, options);
  executor->run({zeros(TensorType::float32, {4, 2}), zeros(TensorType::float32, {3, 2})});
  EXPECT_EQ(executor->macs().floating, 4 * 3 * 2);
  EXPECT_EQ(executor->macs().integer, 0);
}

TEST_P(InputChecks, OutputOfAnotherShapeThanTheGraphs) {
  Builder b;
  const int64_t x = b.input(ElementType::float32, batched({2}));
  b.output(b.float_node(AtenAttributes{"aten::relu", {}}, {x}));
  Options options;
  options.aten = [](const AtenAttributes&, const std::vector<const Tensor*>&, int64_t) {
    return std::vector<Tensor>{zeros(TensorType::float32, {4, 3})};
  };
  EXPECT_EQ(error_of([&] {
              GetParam()(b.model, options)->run({zeros(TensorType::float32, {4, 2})});
            }),
            "node 'n0' (aten): made float32[4, 3], the graph says float32[4, 2]");
}

TEST_P(InputChecks, MissingTensor) {
  Builder b;
  Random random(1);
  const int64_t x = b.codes_input(batched({4}), {1.0f, 0});
  b.output(add_linear(b, random, x, 2));
  b.model.tensors.erase("t1");
  EXPECT_EQ(error_of([&] { GetParam()(b.model, {}); }),
            "node 'n1' (linear): the model has no tensor 't1'");
}

TEST_P(InputChecks, TensorOfTheWrongShape) {
  Builder b;
  Random random(1);
  const int64_t x = b.codes_input(batched({4}), {1.0f, 0});
  b.output(add_linear(b, random, x, 2));
  b.model.tensors["t1"] = floats({3}, {1, 1, 1});
  EXPECT_EQ(error_of([&] { GetParam()(b.model, {}); }),
            "node 'n1' (linear): tensor 't1': expected float32[2], got float32[3]");
}

TEST_P(InputChecks, ValueReadBeforeItIsComputed) {
  Builder b;
  const int64_t x = b.input(ElementType::float32, batched({4}));
  b.output(b.relu(x));
  b.model.graph.nodes[0].inputs = {1};
  EXPECT_EQ(error_of([&] { GetParam()(b.model, {}); }),
            "node 'n0' (activation): reads value 1 before it is computed");
}

INSTANTIATE_TEST_SUITE_P(Executors, InputChecks, ::testing::Values(&reference, &fast));

}  // namespace
}  // namespace qat::runtime::testing
