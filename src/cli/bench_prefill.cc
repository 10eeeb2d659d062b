#include <algorithm>
#include <filesystem>

#include "base/thread_pool.h"
#include "bench/prefill_bench.h"
#include "bench/random_model.h"
#include "cli/bench_report.h"
#include "cli/temporary_folder.h"
#include "runtime/model.h"

namespace ringflash::cli {
namespace {

namespace fs = std::filesystem;

class BenchPrefill final : public Command {
 public:
  void add_options(CLI::App& app) override;
  Status check() const override;
  Status run(const CommonOptions& common) override;

 private:
  Result<ModelConfig> invented_config() const;

  std::string model_file_, preset_ = "small";
  std::vector<int64_t> lengths_ = {40960};
  RingOptions ring_;
  bench::RoundOptions rounds_{.rounds = 1, .limit_seconds = 0};
};

void BenchPrefill::add_options(CLI::App& app) {
  CLI::Option* model = app.add_option("MODEL", model_file_, "GGUF file; without one, random weights");
  model->type_name("FILE");
  app.add_option("--preset", preset_, "Shape of the random weights")
      ->type_name("NAME")
      ->capture_default_str()
      ->excludes(model);
  add_lengths(app, lengths_);
  add_ring_options(app, ring_);
  app.add_option("--rounds", rounds_.rounds, "Times that each is measured, in turn")
      ->type_name("R")
      ->transform(whole_number(1, 1000))
      ->capture_default_str();
}

Result<ModelConfig> BenchPrefill::invented_config() const {
  RF_TRY(ModelConfig config, bench::random_model_config(preset_));
  config.ring = RingGeometry();
  ring_.apply(config.ring);
  config.max_position_embeddings = *std::max_element(lengths_.begin(), lengths_.end());
  RF_TRY_VOID(validate(config));
  return config;
}

Status BenchPrefill::check() const {
  const bool has_ring = ring_.window || ring_.stride || ring_.global_ratio;
  if (!model_file_.empty() && has_ring) return Error{"a MODEL has its own --window, --stride and --global-ratio"};
  if (model_file_.empty()) RF_TRY_VOID(invented_config());
  return {};
}

nlohmann::ordered_json to_json(const bench::PrefillRow& row) {
  return {{"name", row.name},
          {"n", row.n},
          {"ms", rounded(row.ms)},
          {"tokens_per_s", rounded(row.tokens_per_s)},
          {"speedup_vs_full", rounded(row.speedup_vs_full)},
          {"cache_bytes", row.cache_bytes},
          {"rounds", row.rounds}};
}

Status BenchPrefill::run(const CommonOptions& common) {
  ThreadPool pool(common.threads);
  RF_TRY(const TemporaryFolder folder, TemporaryFolder::create());
  fs::path file = model_file_;
  if (model_file_.empty()) {
    file = folder.path() / "random.gguf";
    RF_TRY(const ModelConfig config, invented_config());
    remark("writing random weights of the " + preset_ + " preset");
    RF_TRY_VOID(bench::write_random_model(file, config, bench::StoredFormat::kBF16, pool));
  }
  RF_TRY(const Model model, Model::load(file));
  RF_TRY(const std::vector<bench::PrefillRow> rows, bench_prefill(file, lengths_, rounds_, pool, remark));
  BenchReport report{.command = "bench prefill",
                     .machine = describe_machine(pool.concurrency()),
                     .settings = {{"model", model_file_.empty() ? preset_ : model_file_},
                                  {"ring", cli::to_json(model.config().ring)}},
                     .rows = {}};
  for (const bench::PrefillRow& row : rows) report.rows.push_back(to_json(row));
  return write_report(report, common.json);
}

}  // namespace

std::unique_ptr<Command> make_bench_prefill() {
  return std::make_unique<BenchPrefill>();
}

}  // namespace ringflash::cli
