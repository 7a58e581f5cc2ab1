#include "train/run_log.h"

#include <unistd.h>

#include <cstdio>
#include <nlohmann/json.hpp>

namespace qat::train {
namespace {

constexpr int64_t kBarWidth = 24;
constexpr auto kBarInterval = std::chrono::milliseconds(100);

}  // namespace

Console::Console() : terminal_(isatty(STDERR_FILENO) == 1) {}

void Console::line(const std::string& text) {
  if (shown_ > 0) std::fprintf(stderr, "\r%*s\r", static_cast<int>(shown_), "");
  shown_ = 0;
  std::printf("%s\n", text.c_str());
  std::fflush(stdout);
}

void Console::bar(const std::string& label, int64_t done, int64_t total, const std::string& tail) {
  const auto now = std::chrono::steady_clock::now();
  if (!terminal_ || (now - last_ < kBarInterval && done != total)) return;
  last_ = now;
  const auto filled = static_cast<size_t>(kBarWidth * done / total);
  const std::string text = label + " [" + std::string(filled, '#') +
                           std::string(kBarWidth - filled, '.') + "] " + std::to_string(done) +
                           "/" + std::to_string(total) + " " + tail;
  const size_t padding = shown_ > text.size() ? shown_ - text.size() : 0;
  std::fprintf(stderr, "\r%s%s", text.c_str(), std::string(padding, ' ').c_str());
  shown_ = text.size();
}

RunLog::RunLog(const std::string& folder, const LogSizes& keep)
    : metrics_(folder + "/metrics.jsonl", keep.metrics),
      events_(folder + "/events.out.tfevents.qat", keep.events) {}

void RunLog::metrics(const nlohmann::json& row) {
  metrics_.append(row.dump() + "\n");
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  const double wall_time = std::chrono::duration<double>(now).count();
  for (const auto& [key, value] : row.items()) {
    if (key == "step" || key == "epoch" || !value.is_number()) continue;
    events_.scalar(row.at("phase").get<std::string>() + "/" + key, row.at("step"), value,
                   wall_time);
  }
}

}  // namespace qat::train
