#include <algorithm>

#include "base/thread_pool.h"
#include "bench/model_bench.h"
#include "bench/random_model.h"
#include "cli/bench_report.h"
#include "cli/temporary_folder.h"

namespace ringflash::cli {
namespace {

class BenchDecode final : public Command {
 public:
  void add_options(CLI::App& app) override;
  Status check() const override;
  Status run(const CommonOptions& common) override;

 private:
  Result<std::vector<bench::StoredFormat>> formats() const;
  Result<ModelConfig> config() const;
  Result<std::vector<bench::NamedModel>> models(const std::filesystem::path& folder, Executor& executor) const;

  std::string preset_ = "small";
  std::vector<std::string> format_names_ = {"q4_0", "s4"};
  bench::ModelBenchOptions options_{.rounds = {.rounds = 3, .limit_seconds = 0}};
  std::string folder_;
  bool full_ = false;
  int64_t shared_rank_ = 0;
};

void BenchDecode::add_options(CLI::App& app) {
  app.add_option("--preset", preset_, "Shape of the random weights: a preset's, or 1b")
      ->type_name("NAME")
      ->capture_default_str();
  app.add_option("--formats", format_names_, "Of the linear weights: bf16, q8_0, q4_0, q4_1, q5_0, s8, s4, s4_32")
      ->type_name("NAME,NAME,...")
      ->delimiter(',')
      ->capture_default_str();
  add_lengths(app, options_.prompts);
  app.add_option("--tokens", options_.tokens, "Tokens written after the prompt")
      ->type_name("N")
      ->transform(whole_number(1, 65536))
      ->capture_default_str();
  app.add_option("--rounds", options_.rounds.rounds, "Times that each is measured, in turn")
      ->type_name("R")
      ->transform(whole_number(1, 1000))
      ->capture_default_str();
  app.add_option("--models", folder_, "Keep the models here, and use those that are here")->type_name("DIR");
  app.add_option("--shared-rank", shared_rank_,
                 "Measure each format also with weights shared by groups of two layers, with pairs of this rank")
      ->type_name("R")
      ->transform(whole_number(1, 4096));
  app.add_flag("--full-attention", full_, "Full attention in all layers, instead of the ring");
}

Result<std::vector<bench::StoredFormat>> BenchDecode::formats() const {
  std::vector<bench::StoredFormat> found;
  for (const std::string& name : format_names_) {
    const auto* format = std::find_if(std::begin(bench::kStoredFormats), std::end(bench::kStoredFormats),
                                      [&](bench::StoredFormat each) { return bench::to_string(each) == name; });
    if (format == std::end(bench::kStoredFormats)) {
      return Error{"--formats: must be some of bf16, q8_0, q4_0, q4_1, q5_0, s8, s4, s4_32, not '" + name + "'"};
    }
    found.push_back(*format);
  }
  return found;
}

Result<ModelConfig> BenchDecode::config() const {
  RF_TRY(ModelConfig config, bench::random_model_config(preset_));
  config.max_position_embeddings =
      *std::max_element(options_.prompts.begin(), options_.prompts.end()) + options_.tokens + 64;
  if (full_) config.attention.assign(config.attention.size(), AttentionKind::kFull);
  RF_TRY_VOID(validate(config));
  return config;
}

Status BenchDecode::check() const {
  RF_TRY_VOID(config());
  RF_TRY_VOID(formats());
  return {};
}

Result<std::vector<bench::NamedModel>> BenchDecode::models(const std::filesystem::path& folder,
                                                           Executor& executor) const {
  RF_TRY(const ModelConfig shape, config());
  RF_TRY(const std::vector<bench::StoredFormat> chosen, formats());
  std::vector<bench::NamedModel> all;
  const auto add = [&](const std::string& name, const ModelConfig& shaped, bench::StoredFormat format) -> Status {
    const std::filesystem::path file = folder / (preset_ + "-" + name + ".gguf");
    if (!std::filesystem::exists(file)) {
      remark("writing " + file.string());
      RF_TRY_VOID(bench::write_random_model(file, shaped, format, executor));
    }
    RF_TRY(Model model, Model::load(file, [&](ModelConfig& config) {
             config.max_position_embeddings = shaped.max_position_embeddings;
             config.attention = shaped.attention;
           }));
    all.push_back({name, std::move(model)});
    return {};
  };
  for (const bench::StoredFormat format : chosen) {
    const std::string name = bench::to_string(format);
    RF_TRY_VOID(add(name, shape, format));
    if (shared_rank_ == 0) continue;
    ModelConfig shared = shape;
    shared.sharing = {.group_size = 2, .rank = shared_rank_};
    RF_TRY_VOID(validate(shared));
    RF_TRY_VOID(add(name + "-shared" + std::to_string(shared_rank_), shared, format));
  }
  return all;
}

Status BenchDecode::run(const CommonOptions& common) {
  ThreadPool pool(common.threads);
  RF_TRY(const TemporaryFolder folder, TemporaryFolder::create());
  RF_TRY(const std::vector<bench::NamedModel> all, models(folder_.empty() ? folder.path() : std::filesystem::path(folder_), pool));
  RF_TRY(const std::vector<bench::ModelRow> rows, bench_models(all, options_, pool, remark));
  BenchReport report{.command = "bench decode",
                     .machine = describe_machine(pool.concurrency()),
                     .settings = {{"model", preset_}, {"attention", full_ ? "full" : "ring"}, {"tokens", options_.tokens}},
                     .rows = {}};
  for (const bench::ModelRow& row : rows) {
    const auto named = std::find_if(all.begin(), all.end(), [&](const auto& each) { return each.name == row.name; });
    report.rows.push_back({{"name", row.name},
                           {"n", row.n},
                           {"prefill_tokens_per_s", rounded(row.prefill_tokens_per_s)},
                           {"decode_tokens_per_s", rounded(row.decode_tokens_per_s)},
                           {"prefill_speedup_vs_" + all.front().name, rounded(row.prefill_speedup)},
                           {"decode_speedup_vs_" + all.front().name, rounded(row.decode_speedup)},
                           {"file_bytes", named->model.file().file_bytes()}});
  }
  return write_report(report, common.json);
}

}  // namespace

std::unique_ptr<Command> make_bench_decode() {
  return std::make_unique<BenchDecode>();
}

}  // namespace ringflash::cli
