// qat: quantization-aware training from a job file.

#include <c10/util/Exception.h>
#include <malloc.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <csignal>
#include <cstdio>
#include <functional>
#include <new>

#include "commands.h"
#include "mixed_precision.h"
#include "train/fields.h"
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
  qat::bin::AttackChoice attack;
  qat::bin::MixedChoice mixed;
};

using Command = std::function<int()>;

const CLI::Range kCount(int64_t{1}, int64_t{1'000'000'000});
// As a job's `threads`. The OpenMP library dies when the system refuses it a thread.
const CLI::Range kThreads(int64_t{1}, int64_t{1024});

void add_evaluate(CLI::App* command, Arguments& given) {
  command
      ->add_option("--job", given.job,
                   "take the data from this job; default: the job written into the model")
      ->option_text("JOB");
  CLI::Option* attack =
      command
          ->add_option("--attack", given.attack.method,
                       "of a run: also the accuracy on inputs attacked with fgsm or pgd")
          ->check(CLI::IsMember({"fgsm", "pgd"}))
          ->option_text("METHOD");
  command
      ->add_option("--epsilon", given.attack.epsilon,
                   "how far an attack moves a value, in units of the data; default: the job's, or "
                   "8/255")
      ->check(CLI::Range(1e-6, 1e6))
      ->option_text("X")
      ->needs(attack);
  command->add_option("--steps", given.attack.steps, "steps of pgd; default: 10")
      ->check(CLI::Range(int64_t{1}, int64_t{10'000}))
      ->option_text("N")
      ->needs(attack);
}

// Adds the commands; the chosen one ends up in `chosen`.
void add_commands(CLI::App& app, Arguments& given, Command& chosen) {
  namespace bin = qat::bin;
  const auto add = [&](const char* name, const char* help, const char* target,
                       const char* target_help, Command run) {
    CLI::App* command = app.add_subcommand(name, help);
    command->footer("");
    command->add_option(target, given.target, target_help)->required()->option_text("(needed)");
    command->callback([&chosen, run] { chosen = run; });
    return command;
  };
  const auto overridable = [&](CLI::App* command) {
    command
        ->add_option("KEY=VALUE", given.overrides,
                     "replace keys of the job, as in data.batch=64 float.optimizer.lr=0.05")
        ->option_text("...");
  };
  const char* job = "the job, a YAML file; docs/job.md explains its keys";
  const char* run = "folder of a run, as 'qat train' made it";
  const char* model = "int8 model, such as model.safetensors of a run";
  overridable(add("train",
                  "Run a job: train in float, then quantization-aware; write, verify and report "
                  "the int8 model",
                  "JOB", job, [&] { return bin::train(given.target, given.overrides); }));
  overridable(add("calibrate",
                  "Quantize without training: observe ranges, take the steps of calibrate.steps; "
                  "write, verify and report the int8 model",
                  "RUN_OR_JOB", "folder of a run, for its float model, or a job",
                  [&] { return bin::calibrate(given.target, given.overrides); }));
  add("resume", "Continue a stopped run from its latest checkpoint", "RUN", run,
      [&] { return bin::resume(given.target); });
  add_evaluate(add("evaluate", "Print accuracy, precision, recall and F1 on the test data",
                   "RUN_OR_MODEL", "folder of a run (float and int8 model), or an int8 model",
                   [&] { return bin::evaluate(given.target, given.job, given.attack); }),
               given);
  add("verify",
      "Compare a run's int8 model with the trained one, bit for bit; exit code 1 if they differ",
      "RUN", run, [&] { return bin::verify(given.target, given.limit); })
      ->add_option("--limit", given.limit, "compare on the first N rows of the test data only")
      ->check(kCount)
      ->option_text("N");
  add("inspect", "Print the operators, scales and provenance of an int8 model", "MODEL", model,
      [&] { return bin::inspect(given.target); });
  overridable(add("plan", "Print what a job would quantize, how, and what stays float; no training",
                  "JOB", job, [&] { return bin::plan(given.target, given.overrides); }));
  const char* float_model = "folder of a run (its float model), or a job (trained in float first)";
  CLI::App* sensitivity =
      add("sensitivity", "Print what fewer bits in each layer cost", "RUN_OR_JOB", float_model,
          [&] { return bin::sensitivity(given.target, given.overrides, given.mixed); });
  bin::add_sensitivity_options(sensitivity, given.mixed);
  overridable(sensitivity);
  CLI::App* search = add(
      "search", "Choose bits for each layer under a budget; write them as a recipe", "RUN_OR_JOB",
      float_model, [&] { return bin::search(given.target, given.overrides, given.mixed); });
  bin::add_search_options(search, given.mixed);
  overridable(search);
  add("bench", "Measure the latency of an int8 model at batch 1 and 64", "MODEL", model,
      [&] { return bin::bench(given.target, given.threads); })
      ->add_option("--threads", given.threads, "threads to use; default: all that torch takes")
      ->check(kThreads)
      ->option_text("N");
}

// "qat train" when it was train whose arguments are wrong.
std::string command_line(const CLI::App& app) {
  std::string text = "qat";
  for (const CLI::App* command : app.get_subcommands()) text += " " + command->get_name();
  return text;
}

// The message for a first word that is no command, or "".
std::string unknown_command(const CLI::App& app, const std::string& word) {
  qat::train::Words names;
  for (const CLI::App* command : app.get_subcommands({})) names.push_back(command->get_name());
  if (word.starts_with("-") || std::find(names.begin(), names.end(), word) != names.end())
    return "";
  const auto meant = qat::train::nearest(word, names);
  return "unknown command '" + word + "'; " +
         (meant ? "did you mean '" + *meant + "'?" : "the commands are " + qat::train::join(names));
}

int bad_usage(const std::string& message, const std::string& command) {
  return report("qat: error: " + message + "; see '" + command + " --help'", ExitCode::kBadUsage);
}

}  // namespace

int main(int argc, char** argv) {
  // Activations are allocated and freed every step. Left to itself glibc returns them to the system
  // each time: 100 k page faults a step on MobileNetV2.
  mallopt(M_MMAP_MAX, 0);
  mallopt(M_TRIM_THRESHOLD, INT32_MAX);
  // With a limit on the size of files a write then fails with EFBIG, which is reported like a full
  // disk, instead of killing the process.
  std::signal(SIGXFSZ, SIG_IGN);
  CLI::App app(
      "Trains a network with its int8 arithmetic in the loop and writes an int8 model whose "
      "outputs "
      "equal\nthe trained one's bit for bit.",
      "qat");
  app.set_version_flag("--version", std::string(qat::version()), "Print the version and exit");
  app.set_help_flag("-h,--help", "Print this help and exit");
  app.footer(
      "'qat COMMAND --help' explains a command. A first try: qat train "
      "configs/fashion_mnist_quick.yaml\n"
      "Exit codes: 0 done, 1 failed or the models differ, 2 bad usage or job, 130 and 143 stopped "
      "by "
      "SIGINT\nand SIGTERM (continue with 'qat resume RUN').");
  app.require_subcommand(1);
  Arguments given;
  Command chosen;
  add_commands(app, given, chosen);
  if (argc < 2) return bad_usage("a command is needed", "qat");
  if (const auto message = unknown_command(app, argv[1]); !message.empty()) {
    return bad_usage(message, "qat");
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& information) {  // --help, --version
    return app.exit(information);
  } catch (const CLI::ParseError& error) {
    return bad_usage(error.what(), command_line(app));
  }
  return guarded(chosen);
}
