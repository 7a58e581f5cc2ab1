#include "insert/checkpointed.h"

#include <ATen/core/grad_mode.h>

#include <algorithm>

#include "error.h"

namespace qat::insert {
namespace {

// Innermost last. Weak: Python may let a run go late, and in another thread.
thread_local std::vector<std::weak_ptr<CheckpointedRun>> open_runs;

// Innermost first.
std::vector<std::shared_ptr<CheckpointedRun>> runs() {
  std::vector<std::shared_ptr<CheckpointedRun>> alive;
  for (auto run = open_runs.rbegin(); run != open_runs.rend(); ++run) {
    if (auto held = run->lock()) alive.push_back(std::move(held));
  }
  return alive;
}

}  // namespace

std::shared_ptr<CheckpointedRun> CheckpointedRun::begin(std::shared_ptr<NotedForwards> noted,
                                                        bool again) {
  std::erase_if(open_runs, [](const auto& run) { return run.expired(); });
  auto run = std::make_shared<CheckpointedRun>(CheckpointedRun{std::move(noted), again});
  open_runs.push_back(run);
  return run;
}

std::shared_ptr<NotedForward> forward_to_repeat(const std::shared_ptr<const void>& engine) {
  for (const auto& run : runs()) {
    if (!run->again) continue;
    const auto& all = run->noted->all;
    const bool known = run->next < all.size() && all[run->next]->engine.lock() == engine;
    if (!known || !(all[run->next]->floating || all[run->next]->bank)) {
      throw Error(
          "forward: a checkpointed function runs again in backward, but it calls prepared models "
          "otherwise than in its first run; checkpoint functions that do the same whenever they "
          "run.");
    }
    return all[run->next++];
  }
  return nullptr;
}

bool note_forward(const std::shared_ptr<NotedForward>& forward) {
  bool noted = false;
  for (const auto& run : runs()) {
    if (run->again) break;
    NotedForwards& known = *run->noted;
    known.abandoned = known.abandoned || known.all.size() == kMostForwards;
    if (known.abandoned) {
      known.all.clear();
      continue;
    }
    known.all.push_back(forward);
    noted = true;
  }
  return noted;
}

bool gradients_wanted() {
  if (at::GradMode::is_enabled()) return true;
  const auto all = runs();
  return std::any_of(all.begin(), all.end(), [](const auto& run) { return run->noted->gradients; });
}

}  // namespace qat::insert
