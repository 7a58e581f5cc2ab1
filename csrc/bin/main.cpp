// qat: quantization-aware training from a job file.

#include <c10/util/Exception.h>
#include <malloc.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <functional>
#include <new>

#include "commands.h"
#include "train/stop_signal.h"
#include "train/yaml_tree.h"
#include "version.h"

namespace {

using qat::bin::ExitCode;

int report(const std::string& message, int code) {
  std::fprintf(stderr, "%s\n", message.c_str());
  return code;
}

// The first sentence of a torch error: what follows are source lines and backtraces.
std::string first_sentence(const std::string& what) {
  const std::string line = what.substr(0, what.find('\n'));
  const auto end = line.find(". ");
  return end == std::string::npos ? line : line.substr(0, end + 1);
}

int guarded(const std::function<int()>& command) {
  try {
    return command();
  } catch (const qat::train::Stopped& stopped) {
    return report("qat: stopped by a signal; continue with 'qat resume'", 128 + stopped.signal);
  } catch (const qat::train::JobError& error) {
    return report(error.what(), ExitCode::kBadUsage);
  } catch (const qat::Error& error) {
    return report("qat: error: " + std::string(error.what()), ExitCode::kFailed);
  } catch (const c10::Error& error) {
    return report("qat: error: " + first_sentence(error.what_without_backtrace()),
                  ExitCode::kFailed);
  } catch (const std::bad_alloc&) {
    return report("qat: error: out of memory", ExitCode::kFailed);
  } catch (const std::exception& error) {
    return report("qat: error: " + first_sentence(error.what()), ExitCode::kFailed);
  }
}

struct Arguments {
  std::string target, job;
  std::vector<std::string> overrides;
  int64_t limit = 0, threads = 0;
};

using Command = std::function<int()>;

// Adds the commands; the chosen one ends up in `chosen`.
void add_commands(CLI::App& app, Arguments& given, Command& chosen) {
  namespace bin = qat::bin;
  const auto add = [&](const char* name, const char* help, const char* target,
                       const char* target_help, Command run) {
    CLI::App* command = app.add_subcommand(name, help);
    command->add_option(target, given.target, target_help)->required();
    command->callback([&chosen, run] { chosen = run; });
    return command;
  };
  const auto overridable = [&](CLI::App* command) {
    command->add_option("overrides", given.overrides, "key.sub=value, replaces a key of the job");
  };
  overridable(add("train", "Train in float, then quantization-aware, export and verify", "job",
                  "job file (YAML)", [&] { return bin::train(given.target, given.overrides); }));
  add("resume", "Continue a stopped run", "run", "run folder",
      [&] { return bin::resume(given.target); });
  add("evaluate", "Accuracy of a run's models, or of an int8 model", "run-or-model",
      "run folder or model.safetensors", [&] { return bin::evaluate(given.target, given.job); })
      ->add_option("--job", given.job, "job file with the data, instead of the one in the model");
  add("verify", "Count the logits in which a run's int8 model differs from the trained one", "run",
      "run folder", [&] { return bin::verify(given.target, given.limit); })
      ->add_option("--limit", given.limit, "rows of the test data, 0: all")
      ->check(CLI::NonNegativeNumber);
  add("inspect", "Print the graph and the provenance of an int8 model", "model",
      "model.safetensors", [&] { return bin::inspect(given.target); });
  overridable(add("plan", "Print what a job would quantize, and how", "job", "job file (YAML)",
                  [&] { return bin::plan(given.target, given.overrides); }));
  add("bench", "Time an int8 model at batch 1 and 64", "model", "model.safetensors",
      [&] { return bin::bench(given.target, given.threads); })
      ->add_option("--threads", given.threads, "threads, 0: as many as the machine has")
      ->check(CLI::NonNegativeNumber);
}

}  // namespace

int main(int argc, char** argv) {
  // Activations are allocated and freed every step. Left to itself glibc returns them to the system
  // each time: 100 k page faults a step on MobileNetV2.
  mallopt(M_MMAP_MAX, 0);
  mallopt(M_TRIM_THRESHOLD, INT32_MAX);
  CLI::App app("Quantization-aware training from a job file.", "qat");
  app.set_version_flag("--version", qat::version());
  app.require_subcommand(1);
  Arguments given;
  Command chosen;
  add_commands(app, given, chosen);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& information) {  // --help, --version
    return app.exit(information);
  } catch (const CLI::ParseError& error) {
    return report(std::string("qat: error: ") + error.what() + "; see 'qat --help'",
                  ExitCode::kBadUsage);
  }
  return guarded(chosen);
}
