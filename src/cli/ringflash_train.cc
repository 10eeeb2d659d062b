// `ringflash-train`: the training half, which `ringflash train ...` starts.
#include <malloc.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <new>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/progress.h"
#include "cli/common.h"
#include "cli/ringflash_train_compress.h"
#include "cli/ringflash_train_bench.h"
#include "model/presets.h"
#include "plan/recompute_plan.h"
#include "train/tensor_memory.h"
#include "train/train_config.h"
#include "train/trainer.h"

namespace ringflash::cli {
namespace {

constexpr const char* kExamples = R"(Examples:
  ringflash train --data docs/ --out run/ --preset nano --steps 2000
  ringflash train --data docs/ --out run/ --resume
  ringflash train --data docs/ --out run/ --preset small --seq 8192 --activation-budget 40%
  ringflash train --data docs/ --out run/ --set sharing_group_size=2 --set sharing_rank=16
  torchrun --nproc-per-node 2 --no-python ringflash train --data docs/ --out run/
  ringflash train --data more.txt --out tuned/ --from run/ --set learning_rate=3e-4)";

constexpr const char* kOutput = R"(Into --out go, whole or not at all:
  checkpoint-N  after N steps; the newest save_total_limit stay, and --resume goes on from the last
  best          the weights with the lowest held-out loss (of a sparse model: since it is as sparse as it will be)
  report.html   the run's curves, drawn from metrics.jsonl)";

/// What the command line holds that has to be looked at again before it is a request.
struct Arguments {
  TrainRequest request;
  CommonOptions common;
  std::string config, from, teacher, device, activation_budget;
  int64_t steps = 0, sequence = 0;
  std::vector<std::string> settings;
};

std::string list_presets() {
  std::string text = "Presets:\n";
  for (const Preset& preset : presets()) text += "  " + preset.name + ": " + preset.description + "\n";
  return text;
}

/// Every field of the recipe with its default, for the foot of --help.
std::string list_recipe() {
  std::ostringstream text;
  text << "Settings of the recipe for --set, with their defaults (any key of config.json works too):\n";
  TrainConfig defaults;
  visit_fields(defaults, [&](const char* key, const auto& value, const char* help) {
    text << "  " << key << "=" << value << "  " << help << "\n";
  });
  return text.str();
}

void add_train_options(CLI::App& app, Arguments& args) {
  app.add_option("--data", args.request.data, "Text files, .jsonl files (a text or a conversation a line), or folders of them")->required();
  app.add_option("--out", args.request.out, "Folder for checkpoints, metrics.jsonl, report.html and prepared data")->required();
  app.add_option("--preset", args.request.preset, "Shape of the model: tiny, nano, micro or small")
      ->capture_default_str();
  app.add_option("--config", args.config, "A config.json instead of a preset");
  app.add_option("--from", args.from, "A checkpoint to start from, instead of random weights");
  app.add_option("--teacher", args.teacher, "A checkpoint of the same vocabulary to distil from; --resume remembers it");
  app.add_option("--steps", args.steps, "Optimiser steps in all")->check(CLI::PositiveNumber);
  app.add_option("--seq", args.sequence, "Tokens in a row, with the ring geometry that suits it")
      ->check(CLI::PositiveNumber);
  app.add_option("--activation-budget", args.activation_budget,
                 "What activations may take, in bytes (800M, 3G) or of what they would (40%): the rest is computed again");
  app.add_option("--device", args.device, "cpu or cuda");
  app.add_option("--set", args.settings, "key=value, of the recipe or of config.json; may be repeated");
  app.add_flag("--resume", args.request.resume, "Go on from the newest checkpoint in --out, if there is one");
  add_common_options(app, args.common);
  app.footer(std::string(kExamples) + "\n\n" + kOutput + "\n\n" + list_presets() + "\n" + list_recipe());
}

Status complete_request(Arguments& args) {
  TrainRequest& request = args.request;
  if (!args.config.empty()) request.config = args.config;
  if (!args.from.empty()) request.from = args.from;
  if (!args.teacher.empty()) request.teacher = args.teacher;
  if (request.config && request.from) return Error{"--config and --from exclude each other"};
  if (!args.activation_budget.empty()) {
    if (const auto budget = parse_activation_budget(args.activation_budget); !budget) return budget.error().in("--activation-budget");
    request.settings.emplace_back("activation_budget", args.activation_budget);
  }
  if (args.steps > 0) request.settings.emplace_back("max_steps", std::to_string(args.steps));
  if (args.sequence > 0) request.settings.emplace_back("sequence_length", std::to_string(args.sequence));
  if (!args.device.empty()) request.settings.emplace_back("device", args.device);
  for (const std::string& setting : args.settings) {
    const size_t equals = setting.find('=');
    if (equals == std::string::npos || equals == 0) return Error{"--set takes key=value, found '" + setting + "'"};
    request.settings.emplace_back(setting.substr(0, equals), setting.substr(equals + 1));
  }
  request.threads = args.common.threads;
  return {};
}

Status print_report(const TrainReport& report, const Arguments& args) {
  if (args.common.json) {
    return write_json({{"checkpoint", report.checkpoint.string()},
                       {"steps", report.steps},
                       {"tokens", report.tokens},
                       {"parameters", report.parameters},
                       {"step_macs", report.step_macs},
                       {"dense_step_macs", report.dense_step_macs},
                       {"optimizer_bytes", report.optimizer_bytes},
                       {"seconds", report.seconds},
                       {"first_bits_per_byte", report.first_bits_per_byte},
                       {"bits_per_byte", report.last_bits_per_byte},
                       {"accuracy", report.last_accuracy},
                       {"best", report.best.string()},
                       {"best_step", report.best_step},
                       {"best_heldout_loss", report.best_heldout},
                       {"interrupted", report.interrupted}});
  }
  std::fprintf(stderr, "held-out bits per byte %.4f before, %.4f after %s tokens in %s; next token right %.1f %%\n",
               report.first_bits_per_byte, report.last_bits_per_byte,
               format_count(static_cast<double>(report.tokens)).c_str(), format_duration(report.seconds).c_str(),
               100 * report.last_accuracy);
  return write_stdout(report.checkpoint.string() + "\n");
}

int train(Arguments& args) {
  const Result<TrainReport> report = run_training(args.request);
  if (!report) {
    print_error(report.error().message);
    return kFailure;
  }
  if (!report->first_process) return report->interrupted ? kFailure : kSuccess;
  if (const Status printed = print_report(*report, args); !printed) {
    print_error(printed.error().message);
    return kFailure;
  }
  if (!report->interrupted) return kSuccess;
  std::fprintf(stderr, "interrupted after step %lld; everything is saved. Go on with the same command and --resume\n",
               static_cast<long long>(report->steps));
  return kFailure;
}

int fail(const Status& status, ExitCode code) {
  print_error(status.error().message);
  return code;
}

int run_command(Command& command, const CommonOptions& common) {
  if (const Status checked = command.check(); !checked) return fail(checked, kWrongUsage);
  if (const Status done = command.run(common); !done) return fail(done, kFailure);
  return kSuccess;
}

int run(int argc, char** argv) {
  CLI::App app("Trains and compresses long-context language models.", "ringflash");
  app.require_subcommand(1);
  app.get_formatter()->column_width(32);
  Arguments args;
  CLI::App* train_app = app.add_subcommand("train", "Train a model on text");
  add_train_options(*train_app, args);
  CompressCommand compress_command;
  CommonOptions compress_common;
  CLI::App* compress_app = app.add_subcommand("compress", "Make a trained model sparse and small");
  compress_command.add_options(*compress_app);
  add_common_options(*compress_app, compress_common);
  BenchTrainCommand bench_command;
  CommonOptions bench_common;
  CLI::App* bench_app = app.add_subcommand("bench", "Measure how fast training is");
  bench_app->require_subcommand(1);
  CLI::App* bench_train_app = bench_app->add_subcommand("train", "Block-sparse training against dense");
  bench_command.add_options(*bench_train_app);
  add_common_options(*bench_train_app, bench_common);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& result) {
    if (result.get_exit_code() == 0) return app.exit(result);
    print_error(result.what());
    const auto parsed = app.get_subcommands();
    std::fprintf(stderr, "See `ringflash %s --help`.\n", parsed.empty() ? "train" : parsed.front()->get_name().c_str());
    return kWrongUsage;
  }
  if (compress_app->parsed()) return run_command(compress_command, compress_common);
  if (bench_train_app->parsed()) return run_command(bench_command, bench_common);
  if (const Status complete = complete_request(args); !complete) return fail(complete, kWrongUsage);
  return train(args);
}

}  // namespace
}  // namespace ringflash::cli

int main(int argc, char** argv) {
  // The same buffers are taken and freed every step: keep them instead of giving the pages back.
  ringflash::pool_tensor_memory();
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, -1);
  try {
    return ringflash::cli::run(argc, argv);
  } catch (const std::bad_alloc&) {
    ringflash::cli::print_error("not enough memory; try a smaller batch_size or sequence_length");
    return ringflash::cli::kFailure;
  } catch (const std::exception& error) {
    const std::string what = error.what();
    ringflash::cli::print_error(what.substr(0, what.find("\nException raised from")));  // libtorch adds a backtrace
    return ringflash::cli::kFailure;
  }
}
