// `ringflash`: the program without the training half.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <new>
#include <sstream>
#include <string>
#include <vector>

#include "cli/commands.h"

namespace ringflash::cli {
namespace {

constexpr CommandEntry kCommands[] = {
    {"train", "Train a model on text (ringflash-train does it)",
     "ringflash train --preset nano --data corpus/ --out run/", nullptr},
    {"compress", "Make a trained model sparse and small (ringflash-train does it)",
     "ringflash compress --from run/ --out small/ --calib text.txt", nullptr},
    {"import", "Make a checkpoint of another kind of model", "ringflash import model.Q4_K_M.gguf --out model/",
     make_import_command},
    {"export", "Write a checkpoint as the one file that the other commands read",
     "ringflash export run/ --out model.gguf --format q8", make_export_command},
    {"generate", "Continue a text", "ringflash generate model.gguf -p 'The command line' -n 64 --seed 1",
     make_generate_command},
    {"chat", "Talk with a model, line by line", "ringflash chat model.gguf --system 'Answer in one sentence.'",
     make_chat_command},
    {"eval", "Measure how good a model is", "ringflash eval model.gguf --task ppl --data held-out.txt --json",
     make_eval_command},
    {"bench", "Measure how fast it is", "ringflash bench attention --n 8192,40960 --json", make_bench_command},
    {"plan", "Say what training takes, and whether it fits a memory",
     "ringflash plan --preset small --seq 8192 --batch 2 --memory 8G", make_plan_command},
    {"report", "Draw the curves of a training run as an HTML page", "ringflash report run/", make_report_command},
    {"info", "Show what a model is made of", "ringflash info model.gguf", make_info_command},
    {"tokenize", "Show a text as a model reads it", "ringflash tokenize model.gguf -p 'The command line'",
     make_tokenize_command},
};

const CommandEntry* find_entry(const std::string& name) {
  for (const CommandEntry& entry : kCommands) {
    if (name == entry.name) return &entry;
  }
  return nullptr;
}

/// A command as the parser knows it.
struct Registered {
  CLI::App* app;
  std::unique_ptr<Command> command;
};

std::vector<Registered> register_commands(CLI::App& app, CommonOptions& common) {
  std::vector<Registered> registered;
  for (const CommandEntry& entry : kCommands) {
    CLI::App* sub = app.add_subcommand(entry.name, entry.summary);
    if (entry.make == nullptr) continue;  // listed in the help; run() handed it over before parsing
    sub->footer(std::string("Example:\n  ") + entry.example);
    registered.push_back({sub, entry.make()});
    registered.back().command->add_options(*sub);
    add_common_options(*sub, common);
  }
  return registered;
}

int fail(const Error& error, ExitCode code) {
  print_error(error.message);
  return code;
}

int wrong_usage(const std::string& message) {
  print_error(message);
  std::fprintf(stderr, "See `ringflash --help` or `ringflash COMMAND --help`.\n");
  return kWrongUsage;
}

/// --help and --version are exceptions to the parser too.
int report_parse_result(const CLI::App& app, const CLI::ParseError& result) {
  if (result.get_exit_code() != 0) return wrong_usage(result.what());
  std::ostringstream out;
  app.exit(result, out, out);
  const Status written = write_stdout(out.str());
  return written ? kSuccess : fail(written.error(), kFailure);
}

int run(int argc, char** argv) {
  const std::string first = argc > 1 ? argv[1] : "";
  const CommandEntry* entry = find_entry(first);
  const bool benches_training = first == "bench" && argc > 2 && std::string_view(argv[2]) == "train";
  if (benches_training || (entry != nullptr && entry->make == nullptr)) return fail(become_training_half(argv + 1), kFailure);
  if (entry == nullptr && !first.empty() && first.front() != '-') {
    return wrong_usage("there is no command '" + first + "'");
  }

  CLI::App app("Runs long-context language models that Ringflash trained.", "ringflash");
  app.set_version_flag("--version", std::string("ringflash ") + RINGFLASH_VERSION);
  app.get_formatter()->column_width(32);
  CommonOptions common;
  const std::vector<Registered> commands = register_commands(app, common);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& result) {
    return report_parse_result(app, result);
  }
  for (const Registered& candidate : commands) {
    if (!candidate.app->parsed()) continue;
    if (const Status status = candidate.command->check(); !status) return wrong_usage(status.error().message);
    const Status status = candidate.command->run(common);
    return status ? kSuccess : fail(status.error(), kFailure);
  }
  std::fputs(app.help().c_str(), stderr);
  return kWrongUsage;
}

}  // namespace
}  // namespace ringflash::cli

int main(int argc, char** argv) {
  using namespace ringflash::cli;
  try {
    return run(argc, argv);
  } catch (const std::bad_alloc&) {
    return fail({"out of memory"}, kFailure);
  } catch (const std::exception& error) {
    return fail({error.what()}, kFailure);
  }
}
