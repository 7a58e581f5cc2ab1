#include "runtime/fast_executor.h"

#include <algorithm>
#include <cstring>
#include <exception>
#include <mutex>
#include <set>

#include "runtime/context.h"
#include "runtime/fast_layers.h"
#include "runtime/parallel.h"
#include "runtime/self_test.h"
#include "runtime/separable.h"
#include "runtime/session.h"

namespace qat::runtime {
namespace {

// Contexts that wait for a call; enough for a few threads, or for a data set's last, smaller batch.
constexpr size_t kIdleContexts = 8;
constexpr size_t kCacheBytes = 1 << 20;

// Of a run that a team makes shorter, 100 us: before its other threads are awake, and the lead
// after them, 30 to 60 us have passed.
constexpr int64_t kTeamWork = 20'000'000;

class PlannedExecutor final : public FastExecutor {
 public:
  PlannedExecutor(const graph::Model& model, const Options& options,
                  kernels::u8s8::InstructionSet set)
      : model_(model), threads_(options.threads), exact_threads_(options.exact_threads) {
    check_structure(model_.graph);
    plan_ = make_plan(model_, options.aten, set);
    separable_ = is_separable(model_.graph);
    drop_packed_weights();
    idle_.reserve(kIdleContexts + most_threads_);
  }

  std::vector<Tensor> run(const std::vector<Tensor>& inputs) override {
    const int64_t batch = check_inputs(model_.graph, inputs);
    std::vector<const void*> from;
    for (const Tensor& input : inputs) from.push_back(input.bytes.data());
    std::vector<Tensor> outputs;
    std::vector<void*> to;
    for (const int64_t output : model_.graph.outputs) {
      const graph::Value& value = model_.graph.values[static_cast<size_t>(output)];
      outputs.push_back(make_tensor(storage_type(value), shape_at(value.shape, batch)));
      to.push_back(outputs.back().bytes.data());
    }
    const MacCount macs = run_batch(batch, from.data(), to.data(), team_size(threads_));
    const std::lock_guard lock(mutex_);
    macs_ = macs;
    return outputs;
  }

  std::vector<Tensor> run_all(const std::vector<Tensor>& inputs) override {
    const int64_t batch = check_inputs(model_.graph, inputs);
    Context context(model_, plan_, batch, /*keep=*/true);
    for (size_t i = 0; i < inputs.size(); ++i) context.set_input(i, inputs[i].bytes.data());
    MacCount macs;
    run_context(context, team_size(threads_), macs);
    std::vector<Tensor> values(model_.graph.values.size());
    for (size_t i = 0; i < values.size(); ++i) {
      const auto value = static_cast<int64_t>(i);
      const View& row_major = context.view(slot(value, Layout::row_major));
      const View& channels_last = context.view(slot(value, Layout::channels_last));
      if (channels_last.data == nullptr) {
        if (row_major.data != nullptr) values[i] = copied(row_major);
        continue;
      }
      const Sizes& s = channels_last.shape;
      values[i] = make_tensor(channels_last.type, {s[0], s[3], s[1], s[2]});
      change_layout(channels_last.data, s, graph::element_size(channels_last.type),
                    Layout::row_major, values[i].bytes.data(), threads_);
    }
    return values;
  }

  void run_on(int64_t batch, const void* const* inputs, void* const* outputs,
              int threads) override {
    run_batch(batch, inputs, outputs, team_size(threads));
  }

  MacCount macs() const override {
    const std::lock_guard lock(mutex_);
    return macs_;
  }

 private:
  // The kernels have their own copy, in the order in which they read it.
  void drop_packed_weights() {
    std::set<std::string> packed, needed;
    for (const graph::Node& node : model_.graph.nodes) {
      auto& names = has_fast_layer(node) ? packed : needed;
      if (const auto* a = std::get_if<graph::ConvAttributes>(&node.attributes)) {
        names.insert(a->weight);
      } else if (const auto* b = std::get_if<graph::LinearAttributes>(&node.attributes)) {
        names.insert(b->weight);
      }
    }
    for (const std::string& name : packed) {
      weight_bytes_ += model_.tensors.at(name).bytes.size();
      if (needed.count(name) == 0) model_.tensors.erase(name);
    }
  }

  static Tensor copied(const View& view) {
    Tensor tensor = make_tensor(view.type, view.shape);
    if (view.numel > 0) std::memcpy(tensor.bytes.data(), view.data, view.bytes());
    return tensor;
  }

  // More threads than processors would take turns.
  int team_size(int requested) const {
    const int threads = resolve_threads(requested);
    return exact_threads_ ? threads : std::min(threads, omp_get_num_procs());
  }

  void run_context(Context& context, int threads, MacCount& macs) const {
    const bool is_short = context.work() < kTeamWork && !exact_threads_;
    context.run(is_short ? 1 : threads, macs);
  }

  // Note [Parts of a batch]
  // Where samples do not mix, a batch is run in parts whose activations stay in the caches (16
  // images of 224 pixels through MobileNetV2 take 41 % longer at once), one part per thread. What
  // does not give every thread the same number of parts is run by all threads together.
  MacCount run_batch(int64_t batch, const void* const* inputs, void* const* outputs, int threads) {
    const int64_t part = part_size(batch);
    const int64_t parts = batch / part;
    const int64_t alone = threads > 1 ? parts / threads * threads : 0;
    MacCount macs;
    if (alone > 0) {
      prepare(part, static_cast<size_t>(threads));
      std::exception_ptr failure;
      const auto run_alone = [&](int64_t i) {
        MacCount own;
        std::exception_ptr failed;
        try {
          run_part(batch, i * part, part, inputs, outputs, /*threads=*/1, own);
        } catch (...) {
          failed = std::current_exception();
        }
#pragma omp critical(qat_runtime_parts)
        {
          if (failed) failure = failed;
          macs.integer += own.integer;
          macs.floating += own.floating;
        }
      };
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1)
      for (int64_t i = 0; i < alone; ++i) run_alone(i);
      if (failure) std::rethrow_exception(failure);
    }
    for (int64_t first = alone * part; first < batch || batch == 0; first += part) {
      run_part(batch, first, std::min(part, batch - first), inputs, outputs, threads, macs);
      if (batch == 0) break;
    }
    return macs;
  }

  // The samples of a part: as many as fit half of a usual level-2 cache per core, but enough to
  // read the weights less often than the activations.
  int64_t part_size(int64_t batch) {
    if (!separable_ || batch <= 1) return std::max<int64_t>(batch, 1);
    const std::lock_guard lock(part_mutex_);
    if (part_ == 0) {
      std::unique_ptr<Context> one = take(1, 1);
      const size_t room = std::max(kCacheBytes, weight_bytes_ / 4);
      part_ =
          static_cast<int64_t>(std::max<size_t>(1, room / std::max<size_t>(one->arena_bytes(), 1)));
      give_back(std::move(one));
    }
    return std::min(part_, batch);
  }

  void run_part(int64_t batch, int64_t first, int64_t count, const void* const* inputs,
                void* const* outputs, int threads, MacCount& macs) {
    std::unique_ptr<Context> context = take(count, threads);
    const bool whole = count == batch;
    for (size_t i = 0; i < model_.graph.inputs.size(); ++i) {
      const size_t sample = whole ? 0 : context->given(i).bytes() / static_cast<size_t>(count);
      context->set_input(
          i, static_cast<const std::byte*>(inputs[i]) + static_cast<size_t>(first) * sample);
    }
    run_context(*context, threads, macs);
    for (size_t i = 0; i < model_.graph.outputs.size(); ++i) {
      const View& made = context->output(i);
      if (made.numel == 0) continue;
      const size_t sample = whole ? 0 : made.bytes() / static_cast<size_t>(count);
      std::memcpy(static_cast<std::byte*>(outputs[i]) + static_cast<size_t>(first) * sample,
                  made.data, made.bytes());
    }
    give_back(std::move(context));
  }

  // As many contexts as threads may ask for at once, whatever they do: which thread runs a part is
  // chance, and a later call must not have to make another context.
  void prepare(int64_t batch, size_t wanted) {
    std::vector<std::unique_ptr<Context>> made;
    {
      const std::lock_guard lock(mutex_);
      most_threads_ = std::max(most_threads_, wanted);
      idle_.reserve(kIdleContexts + most_threads_);
    }
    for (size_t idle = count_idle(batch); idle + made.size() < wanted;) {
      made.push_back(std::make_unique<Context>(model_, plan_, batch, /*keep=*/false));
    }
    for (std::unique_ptr<Context>& context : made) give_back(std::move(context));
  }

  size_t count_idle(int64_t batch) {
    const std::lock_guard lock(mutex_);
    return static_cast<size_t>(std::count_if(idle_.begin(), idle_.end(),
                                             [&](const auto& c) { return c->batch() == batch; }));
  }

  // One that has memory for so many threads, if there is one.
  std::unique_ptr<Context> take(int64_t batch, int threads) {
    {
      const std::lock_guard lock(mutex_);
      const auto find = [&](int most_threads) {
        return std::find_if(idle_.begin(), idle_.end(), [&](const auto& c) {
          return c->batch() == batch && c->most_threads() >= most_threads;
        });
      };
      auto found = find(threads);
      if (found == idle_.end()) found = find(1);
      if (found != idle_.end()) {
        std::unique_ptr<Context> context = std::move(*found);
        idle_.erase(found);
        return context;
      }
    }
    return std::make_unique<Context>(model_, plan_, batch, /*keep=*/false);
  }

  void give_back(std::unique_ptr<Context> context) {
    const std::lock_guard lock(mutex_);
    if (idle_.size() >= kIdleContexts + most_threads_) idle_.erase(idle_.begin());
    idle_.push_back(std::move(context));
  }

  graph::Model model_;
  const int threads_;
  const bool exact_threads_;
  Plan plan_;
  bool separable_ = false;
  size_t weight_bytes_ = 0;
  std::mutex part_mutex_;
  int64_t part_ = 0;  // samples; 0: not yet known
  mutable std::mutex mutex_;
  size_t most_threads_ = 1;  // of a run so far
  MacCount macs_;
  std::vector<std::unique_ptr<Context>> idle_;  // the longest unused first
};

}  // namespace

std::unique_ptr<FastExecutor> make_fast_executor(const graph::Model& model, Options options,
                                                 kernels::u8s8::InstructionSet set) {
  return std::make_unique<PlannedExecutor>(model, options, set);
}

std::unique_ptr<Executor> make_fast_executor(const graph::Model& model, Options options) {
  return make_fast_executor(model, std::move(options), trusted_instruction_set());
}

}  // namespace qat::runtime
