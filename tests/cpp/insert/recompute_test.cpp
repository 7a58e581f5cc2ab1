#include "insert/recompute.h"

#include <gtest/gtest.h>
#include <qat.h>

#include "insert/net.h"

namespace qat::testing {
namespace {

using insert::Recomputation;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Reentrant checkpointing of one tensor function, as C++ users write it.
struct Checkpoint : torch::autograd::Function<Checkpoint> {
  using Block = std::function<at::Tensor(const at::Tensor&)>;
  struct Held : torch::CustomClassHolder {
    Block block;
    std::shared_ptr<Recomputation> start;
  };

  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x, const Block& block) {
    auto held = c10::make_intrusive<Held>();
    held->block = block;
    held->start = Recomputation::begin({x});
    ctx->save_for_backward({x});
    ctx->saved_data["held"] = c10::IValue::make_capsule(held);
    const auto run = held->start->first_run();
    return block(x);
  }
  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const auto& held = static_cast<Held&>(*ctx->saved_data["held"].toCapsule());
    at::AutoGradMode enable(true);
    const at::Tensor x = ctx->get_saved_variables()[0].detach().requires_grad_();
    at::Tensor y;
    {
      const auto run = held.start->run_again({x});
      y = held.block(x);
    }
    torch::autograd::backward({y}, {grads[0]});
    return {x.grad(), at::Tensor()};
  }
};

struct CheckpointedImpl : NetImpl {
  at::Tensor forward(const at::Tensor& x) {
    const auto run = [this](const at::Tensor& t) { return block(t); };
    const at::Tensor y = insert::current_handler() && is_training() && at::GradMode::is_enabled()
                             ? Checkpoint::apply(stem(x), Checkpoint::Block(run))
                             : run(stem(x));
    return head(y.mean({2, 3}));
  }
};

TEST(RecomputeTest, EqualsTheRunWithout) {
  torch::manual_seed(1);
  auto plain = std::make_shared<NetImpl>();
  auto saved = std::make_shared<CheckpointedImpl>();
  {
    at::NoGradGuard no_grad;
    for (const auto& item : plain->named_parameters()) {
      saved->named_parameters()[item.key()].copy_(item.value());
    }
  }
  const at::Tensor x = torch::randn({4, 3, 10, 10});
  const auto expected = prepare(plain, {x});
  const auto got = prepare(saved, {x});
  for (int i = 0; i < 2; ++i) {
    expected->forward(x).square().sum().backward();
    got->forward(x).square().sum().backward();
  }
  for (const auto& item : plain->named_parameters()) {
    EXPECT_TRUE(saved->named_parameters()[item.key()].grad().equal(item.value().grad()))
        << item.key();
  }
  for (const auto& item : plain->named_buffers()) {
    EXPECT_TRUE(saved->named_buffers()[item.key()].equal(item.value())) << item.key();
  }
}

// Around the whole prepared model, twice before one backward.
TEST(RecomputeTest, WholeForwardsEqualTheRunWithout) {
  torch::manual_seed(1);
  Net plain, saved;
  {
    at::NoGradGuard no_grad;
    for (const auto& item : plain->named_parameters()) {
      saved->named_parameters()[item.key()].copy_(item.value());
    }
  }
  const at::Tensor x = torch::randn({4, 3, 10, 10}).requires_grad_();
  const auto expected = prepare(plain, {x}), got = prepare(saved, {x});
  const auto whole = [&](const at::Tensor& t) { return got->forward(t); };
  const auto checkpointed = [&](const at::Tensor& t) {
    return Checkpoint::apply(t, Checkpoint::Block(whole));
  };
  (expected->forward(x).square().sum() + expected->forward(3 * x).square().sum()).backward();
  (checkpointed(x).square().sum() + checkpointed(3 * x).square().sum()).backward();
  for (const auto& item : plain->named_parameters()) {
    EXPECT_TRUE(saved->named_parameters()[item.key()].grad().equal(item.value().grad()))
        << item.key();
  }
  for (const auto& item : plain->named_buffers()) {
    EXPECT_TRUE(saved->named_buffers()[item.key()].equal(item.value())) << item.key();
  }
  const NamedTensors theirs = got->state(), ours = expected->state();
  for (size_t i = 0; i < ours.size(); ++i) {
    EXPECT_TRUE(theirs[i].second.equal(ours[i].second)) << ours[i].first;
  }
}

}  // namespace
}  // namespace qat::testing
