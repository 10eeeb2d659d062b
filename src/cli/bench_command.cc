// `ringflash bench SUBJECT`: the table of what can be measured.
#include <CLI/CLI.hpp>

#include "cli/commands.h"

namespace ringflash::cli {
namespace {

constexpr CommandEntry kSubjects[] = {
    {"attention", "Ring attention against full attention, ours and torch's: forward, backward, decode",
     "ringflash bench attention --n 8192,40960 --threads 2 --json", make_bench_attention},
    {"decode", "Reading a prompt and writing on with whole models of random weights in several formats",
     "ringflash bench decode --preset 1b --formats q4_0,s4 --n 512 --json", make_bench_decode},
    {"linear", "Products with sparse, quantised and bf16 weights, against memory's speed, each other and oneDNN",
     "ringflash bench linear --in 4096 --out 4096 --threads 2 --json", make_bench_linear},
    {"prefill", "Reading a long prompt with a whole model, against its twin with full attention",
     "ringflash bench prefill --preset small --n 40960 --json", make_bench_prefill},
    {"train", "Block-sparse training against dense (ringflash-train does it)", "ringflash bench train --threads 2 --json",
     nullptr},
};

class BenchCommand final : public Command {
 public:
  void add_options(CLI::App& app) override {
    for (const CommandEntry& entry : kSubjects) {
      if (entry.make == nullptr) continue;  // started before anything is parsed; here for its name
      CLI::App* subject = app.add_subcommand(entry.name, entry.summary);
      subject->fallthrough();  // --json and --threads may stand anywhere
      subject->footer(std::string("--json and --threads as in `ringflash bench --help`.\n\nExample:\n  ") +
                      entry.example);
      subjects_.emplace_back(subject, entry.make());
      subjects_.back().second->add_options(*subject);
    }
  }
  Status check() const override {
    if (Command* subject = chosen()) return subject->check();
    std::string names;
    for (const CommandEntry& entry : kSubjects) names += std::string(names.empty() ? "" : " or ") + entry.name;
    return Error{"bench: expected what to measure: " + names};
  }
  Status run(const CommonOptions& common) override {
    RF_CHECK(chosen() != nullptr);
    return chosen()->run(common);
  }

 private:
  /// Null where none was given.
  Command* chosen() const {
    for (const auto& [app, subject] : subjects_) {
      if (app->parsed()) return subject.get();
    }
    return nullptr;
  }

  std::vector<std::pair<CLI::App*, std::unique_ptr<Command>>> subjects_;
};

}  // namespace

std::unique_ptr<Command> make_bench_command() {
  return std::make_unique<BenchCommand>();
}

}  // namespace ringflash::cli
