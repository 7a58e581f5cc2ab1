#include "runtime/context.h"

#include <algorithm>
#include <cstring>
#include <map>

#include "runtime/arena.h"
#include "runtime/parallel.h"
#include "runtime/quantize_ranges.h"
#include "runtime/session.h"

namespace qat::runtime {

Context::Context(const graph::Model& model, const Plan& plan, int64_t batch, bool keep)
    : model_(model), plan_(plan), batch_(batch), keep_(keep) {
  find_owners();
  make_views();
  place_in_arena(keep);
  bind_steps();
  provide(1);
}

void Context::find_owners() {
  owners_.assign(model_.graph.values.size() * 2, Owner::nobody);
  for (const Step& step : plan_.steps) {
    const Owner owner = step.bind       ? Owner::arena
                        : step.constant ? Owner::model
                                        : Owner::aten_result;
    for (const size_t s : step.outputs) owners_[s] = owner;
  }
  for (const int64_t input : model_.graph.inputs) {
    const bool codes =
        model_.graph.values[static_cast<size_t>(input)].type == graph::ElementType::codes;
    owners_[slot(input, Layout::row_major)] = codes ? Owner::arena : Owner::caller;
  }
  for (const Step& step : plan_.steps) {
    if (!step.run) continue;
    for (const size_t s : step.inputs) {
      if (owners_[s] != Owner::aten_result) owners_[s] = Owner::tensor;
    }
  }
}

void Context::make_views() {
  views_.resize(owners_.size());
  tensors_.resize(owners_.size());
  for (size_t s = 0; s < owners_.size(); ++s) {
    if (owners_[s] == Owner::nobody) continue;
    const graph::Value& value = model_.graph.values[static_cast<size_t>(value_of(s))];
    views_[s] = view_of(value, batch_, layout_of(s));
    if (owners_[s] != Owner::tensor) continue;
    tensors_[s] = make_tensor(views_[s].type, views_[s].shape);
    views_[s].data = tensors_[s].bytes.data();
  }
  for (const Step& step : plan_.steps) {
    if (step.constant != nullptr) set_constant(step);
  }
  for (const int64_t input : model_.graph.inputs) {
    View given = views_[slot(input, Layout::row_major)];
    const graph::Value& value = model_.graph.values[static_cast<size_t>(input)];
    if (value.type == graph::ElementType::codes) given.type = TensorType::float32;
    given.data = nullptr;
    given_.push_back(given);
  }
}

void Context::set_constant(const Step& step) {
  const size_t s = step.outputs[0];
  check_made(*step.node, step.constant->type, step.constant->shape, views_[s]);
  if (owners_[s] == Owner::tensor) {
    tensors_[s] = *step.constant;
    views_[s].data = tensors_[s].bytes.data();
  } else {  // results are only read from
    views_[s].data = const_cast<std::byte*>(step.constant->bytes.data());
  }
}

void Context::place_in_arena(bool keep) {
  const auto steps = static_cast<int64_t>(plan_.steps.size());
  std::map<size_t, Lifetime> lives;
  const auto touch = [&](size_t s, int64_t step) {
    if (owners_[s] != Owner::arena) return;
    const auto [life, added] = lives.try_emplace(s, Lifetime{views_[s].bytes(), step, step});
    life->second.last = std::max(life->second.last, step);
    if (keep) life->second = {views_[s].bytes(), -1, steps};
  };
  for (const int64_t input : model_.graph.inputs) touch(slot(input, Layout::row_major), -1);
  for (int64_t i = 0; i < steps; ++i) {
    for (const size_t s : plan_.steps[static_cast<size_t>(i)].inputs) touch(s, i);
    for (const size_t s : plan_.steps[static_cast<size_t>(i)].outputs) touch(s, i);
  }
  for (const int64_t output : model_.graph.outputs) touch(slot(output, Layout::row_major), steps);
  std::vector<Lifetime> buffers;
  for (const auto& [s, life] : lives) buffers.push_back(life);
  const Arena arena = place(buffers);
  arena_bytes_ = arena.bytes;
  arena_ = kernels::u8s8::AlignedBytes(arena.bytes);
  size_t next = 0;
  for (const auto& [s, life] : lives) views_[s].data = arena_.data() + arena.offsets[next++];
}

// An element that an operator reads or writes, in multiply-accumulates (see Workspace).
constexpr int64_t kElementWork = 50;

void Context::bind_steps() {
  for (const Step& step : plan_.steps) {
    Binding at{{}, &views_[step.outputs[0]], batch_, &workspace_};
    int64_t elements = at.output->numel;
    for (const size_t s : step.inputs) {
      at.inputs.push_back(&views_[s]);
      elements += views_[s].numel;
    }
    bound_.push_back(step.bind ? step.bind(at) : nullptr);
    workspace_.add_work(elements * kElementWork);
  }
}

void Context::set_input(size_t i, const std::byte* data) {
  // Views of inputs are only read from.
  given_[i].data = const_cast<std::byte*>(data);
}

void Context::provide(int threads) {
  workspace_.provide(threads);
  team_ = std::make_unique<Team>(threads);
}

// ATen's operators stand between teams: in a parallel region they would run on one thread.
void Context::run(int threads, MacCount& macs) {
  if (most_threads() < threads) provide(threads);
  const size_t steps = plan_.steps.size();
  for (size_t first = 0, end = 0; first < steps || first == 0; first = end + 1) {
    for (end = first; end < steps && !plan_.steps[end].run;) ++end;
    const auto walk = [&] {
      if (first == 0) set_inputs(threads);
      run_steps(first, end, threads, macs);
    };
    team_->run(threads, walk);
    if (end < steps) run_aten(plan_.steps[end], macs);
  }
}

void Context::set_inputs(int threads) {
  for (size_t i = 0; i < given_.size(); ++i) {
    const int64_t index = model_.graph.inputs[i];
    const graph::Value& value = model_.graph.values[static_cast<size_t>(index)];
    View& view = views_[slot(index, Layout::row_major)];
    if (value.type == graph::ElementType::codes) {
      parallel_for(threads, view.numel, kElementGrain, [&](int64_t begin, int64_t end) {
        quantize_range(given_[i].as<float>() + begin, view.as<uint8_t>() + begin, end - begin,
                       value.qparams, value.format);
      });
    } else if (owners_[slot(index, Layout::row_major)] == Owner::caller) {
      view.data = given_[i].data;
    } else if (view.numel > 0) {
      std::memcpy(view.data, given_[i].data, view.bytes());
    }
  }
}

void Context::run_steps(size_t first, size_t end, int threads, MacCount& macs) {
  for (size_t i = first; i < end; ++i) {
    if (bound_[i]) bound_[i](threads, macs);
    release_dead(plan_.steps[i]);
  }
}

void Context::release_dead(const Step& step) {
  if (keep_) return;
  for (const size_t dead : step.dead) {
    if (owners_[dead] == Owner::aten_result) tensors_[dead] = {};
  }
}

void Context::run_aten(const Step& step, MacCount& macs) {
  Inputs inputs;
  for (const size_t s : step.inputs) inputs.push_back(&tensors_[s]);
  std::vector<Tensor> made = step.run(inputs, batch_, macs);
  for (size_t k = 0; k < made.size(); ++k) {
    const size_t s = step.outputs[k];
    const graph::Value& value = model_.graph.values[static_cast<size_t>(value_of(s))];
    check_output(*step.node, value, made[k], batch_, layout_of(s));
    tensors_[s] = std::move(made[k]);
    views_[s].data = tensors_[s].bytes.data();
  }
  release_dead(step);
}

const View& Context::output(size_t i) const {
  return views_[slot(model_.graph.outputs[i], Layout::row_major)];
}

}  // namespace qat::runtime
