#pragma once
// Where the channels of a layer's result go.

#include <functional>
#include <optional>
#include <vector>

#include "capture/trace.h"

namespace qat::capture {

// Which nodes read a value.
class Readers {
 public:
  explicit Readers(const Trace& trace);
  // The one node that reads `value`; none where there are several, or where it is an output.
  std::optional<int64_t> only(int64_t value) const;

 private:
  std::vector<std::vector<int64_t>> readers_;
  std::vector<bool> returned_;
};

// How many channels of the node's result one channel of its first input becomes: 1, or after
// flattening the number of positions. None where channels are mixed or change places.
// image: the channels are axis 1 of [N, C, positions...]; otherwise they are the last axis.
// elementwise: whether an activation or a unary function is to be passed.
std::optional<int64_t> channels_through(const Trace& trace, const TraceNode& node, bool image,
                                        const std::function<bool(const TraceNode&)>& elementwise);

}  // namespace qat::capture
