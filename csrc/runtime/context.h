#pragma once
// A plan at one batch size with its memory: allocated when a context is made, but for what depends
// on the number of threads, which the first run with so many makes.

#include "kernels/cpu/gemm_u8s8.h"
#include "runtime/plan.h"
#include "runtime/team.h"

namespace qat::runtime {

// Used by one thread at a time. Model and plan must outlive it.
class Context {
 public:
  // keep: no two values share memory, so that all of them can be read afterwards.
  Context(const graph::Model& model, const Plan& plan, int64_t batch, bool keep);

  int64_t batch() const { return batch_; }
  // Data of graph input i, float32 where the value holds codes. Must stay until run() is over.
  void set_input(size_t i, const std::byte* data);
  const View& given(size_t i) const { return given_[i]; }
  void run(int threads, MacCount& macs);  // by a team of so many
  // Up to so many threads a run needs no more memory.
  int most_threads() const { return team_->capacity(); }
  // Valid until the next run.
  const View& output(size_t i) const;
  const View& view(size_t slot) const { return views_[slot]; }
  size_t arena_bytes() const { return arena_bytes_; }
  int64_t work() const { return workspace_.work(); }  // see Workspace

 private:
  // Note [Slots]
  // A slot's bytes lie in the arena, where slots that are never alive together share memory; or
  // with the caller, for an input of the graph; or in the model, for a constant. ATen's operators
  // read Tensors of the context and leave new ones there.
  void find_owners();
  void make_views();
  void place_in_arena(bool keep);
  void bind_steps();
  void set_constant(const Step& step);
  void provide(int threads);
  void set_inputs(int threads);
  void run_steps(size_t first, size_t end, int threads, MacCount& macs);
  void run_aten(const Step& step, MacCount& macs);
  void release_dead(const Step& step);

  const graph::Model& model_;
  const Plan& plan_;
  const int64_t batch_;
  const bool keep_;
  enum class Owner : uint8_t { nobody, arena, tensor, aten_result, caller, model };
  std::vector<Owner> owners_;
  std::vector<View> views_;
  std::vector<Tensor> tensors_;
  std::vector<Bound> bound_;  // empty for steps of ATen and for constants
  std::vector<View> given_;   // per graph input
  kernels::u8s8::AlignedBytes arena_;
  size_t arena_bytes_ = 0;
  Workspace workspace_;
  std::unique_ptr<Team> team_;
};

}  // namespace qat::runtime
