#pragma once
// Everything a run says while it trains: terminal, metrics.jsonl and TensorBoard events.

#include <chrono>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "train/event_file.h"

namespace qat::train {

struct LogSizes {  // bytes that belong to a checkpoint; a resumed run cuts off what came after
  int64_t metrics = 0, events = 0;
};

// Lines on standard output, and on a terminal one line that rewrites itself on standard error.
class Console {
 public:
  Console();
  void line(const std::string& text);
  void bar(const std::string& label, int64_t done, int64_t total, const std::string& tail);

 private:
  bool terminal_;
  size_t shown_ = 0;  // characters of the bar that is on the screen
  std::chrono::steady_clock::time_point last_{};
};

class RunLog {
 public:
  RunLog(const std::string& folder, const LogSizes& keep);

  Console console;
  // Appends one object; its numbers also go to the events as "<phase>/<key>" at the object's
  // "step".
  void metrics(const nlohmann::json& row);
  LogSizes sizes() const { return {metrics_.bytes(), events_.bytes()}; }

 private:
  LogFile metrics_;
  EventFile events_;
};

}  // namespace qat::train
