#pragma once
// Whole forwards of prepared models inside of a checkpointed function.

#include <memory>
#include <vector>

#include "insert/quantizer_bank.h"
#include "insert/session.h"

namespace qat::insert {

// Note [Checkpointed forwards]
// A checkpoint may begin outside of any planned forward, around whole prepared models. When its
// function runs again in backward, later forwards have moved the ranges, and another forward would
// move them once more. So the first run notes its forwards in their order, and the k-th forward of
// a later run repeats the k-th of them: with its quantization parameters and options, observing
// nothing, and without writing to buffers (Note [Recomputation]). Checkpoints nest: a forward
// repeats what the innermost function that runs again has noted, and any that begin inside of that
// one note it in their turn.

struct NotedForward {
  std::weak_ptr<const void> engine;
  bool floating = false;  // the model as it is: no session, options or bank
  SessionOptions options;
  std::shared_ptr<QuantizerBank> bank;  // as the forward used it; nullptr: it has not ended
};

// Forwards that move nothing (eval) are not noted.
struct NotedForwards {
  bool gradients = false;  // wanted where the checkpoint begins; its first run may be without
  std::vector<std::shared_ptr<NotedForward>> all;
  bool abandoned = false;  // more than kMostForwards: nothing is noted any longer
};

// A run of a checkpointed function in this thread, until the last owner lets go.
struct CheckpointedRun {
  std::shared_ptr<NotedForwards> noted;
  bool again;
  size_t next = 0;  // to be repeated

  static std::shared_ptr<CheckpointedRun> begin(std::shared_ptr<NotedForwards> noted, bool again);
};

// What the forward of this engine that begins now has to repeat; nullptr: it is a forward of its
// own. Throws qat::Error where a function that runs again calls other models than before.
std::shared_ptr<NotedForward> forward_to_repeat(const std::shared_ptr<const void>& engine);

// More forwards than a checkpointed function has: an exception left it, which somebody holds, and
// its run never ends.
constexpr size_t kMostForwards = 1024;

// Notes a forward wherever a checkpointed function runs for the first time, out to the first that
// runs again. True: somewhere.
bool note_forward(const std::shared_ptr<NotedForward>& forward);

// Whether gradients are wanted of what runs now, though a checkpoint may have switched them off.
bool gradients_wanted();

}  // namespace qat::insert
