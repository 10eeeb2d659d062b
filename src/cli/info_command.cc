#include <CLI/CLI.hpp>
#include <algorithm>
#include <iomanip>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "base/progress.h"
#include "cli/commands.h"
#include "format/config_json.h"
#include "model/counts.h"
#include "model/presets.h"
#include "model/tensors.h"
#include "runtime/model.h"

namespace ringflash::cli {
namespace {

constexpr int64_t kCacheElementBytes = sizeof(float);

struct FileBytes {
  uint64_t embedding = 0, linear = 0, delta = 0, router = 0, norm = 0;
  uint64_t metadata = 0;  ///< all that is not tensor data: header, tokenizer, padding
  uint64_t total = 0;

  uint64_t& of(TensorRole role) {
    switch (role) {
      case TensorRole::kEmbedding:
        return embedding;
      case TensorRole::kLinear:
        return linear;
      case TensorRole::kDelta:
        return delta;
      case TensorRole::kRouter:
        return router;
      case TensorRole::kNorm:
        return norm;
    }
    RF_UNREACHABLE();
  }
};

struct Info {
  std::string file;
  ModelConfig config;
  int64_t vocabulary = 0;
  ParameterCounts parameters;
  FileBytes bytes;
  std::string linear_format;  ///< of the linear weights; "BF16+Q8_0" where they differ
  int64_t cache_bytes = 0, all_full_cache_bytes = 0;  ///< at the full context
};

Info collect(const std::string& file, const Model& model) {
  Info info;
  info.file = file;
  info.config = model.config();
  info.vocabulary = model.tokenizer().size();
  info.parameters = count_parameters(info.config);

  info.bytes.total = model.file().file_bytes();
  info.bytes.metadata = info.bytes.total;
  std::set<std::string> formats;
  for (const TensorSpec& spec : tensor_inventory(info.config)) {
    const GgufTensor* tensor = model.file().find(spec.name);
    RF_CHECK(tensor != nullptr);  // Model::inspect() found them all
    info.bytes.of(spec.role) += tensor->data.size();
    info.bytes.metadata -= tensor->data.size();
    if (spec.role == TensorRole::kLinear) {
      const auto sparse = model.sparse_tensors().find(spec.name);
      const bool dense = sparse == model.sparse_tensors().end();
      formats.insert(dense ? to_string(tensor->type) : to_string(sparse->second));
    }
  }
  for (const std::string& format : formats) {
    info.linear_format += (info.linear_format.empty() ? "" : "+") + format;
  }

  ModelConfig all_full = info.config;
  all_full.attention.assign(all_full.attention.size(), AttentionKind::kFull);
  const int64_t context = info.config.max_position_embeddings;
  info.cache_bytes = cache_bytes(info.config, context, kCacheElementBytes);
  info.all_full_cache_bytes = cache_bytes(all_full, context, kCacheElementBytes);
  return info;
}

/// How many times the bytes a number of weights would take as FP16.
double fp16_ratio(int64_t parameters, uint64_t bytes) {
  return 2 * static_cast<double>(parameters) / static_cast<double>(bytes);
}

nlohmann::ordered_json to_json(const Info& info) {
  const ParameterCounts& parameters = info.parameters;
  const FileBytes& bytes = info.bytes;
  return {{"file", info.file},
          {"config", nlohmann::ordered_json::parse(config_to_json(info.config))},
          {"vocabulary_size", info.vocabulary},
          {"parameters",
           {{"embedding", parameters.embedding},
            {"linear", parameters.linear},
            {"delta", parameters.delta},
            {"router", parameters.router},
            {"norm", parameters.norm},
            {"total", parameters.total()}}},
          {"bytes",
           {{"embedding", bytes.embedding},
            {"linear", bytes.linear},
            {"delta", bytes.delta},
            {"router", bytes.router},
            {"norm", bytes.norm},
            {"metadata", bytes.metadata},
            {"total", bytes.total}}},
          {"fp16_ratio",
           {{"linear", fp16_ratio(parameters.linear, bytes.linear)},
            {"total", fp16_ratio(parameters.total(), bytes.total)}}},
          {"linear_format", info.linear_format},
          {"cache",
           {{"context", info.config.max_position_embeddings},
            {"bytes", info.cache_bytes},
            {"all_full_bytes", info.all_full_cache_bytes}}}};
}

std::string attention_summary(const ModelConfig& config) {
  const auto count = [&](AttentionKind kind) { return std::ranges::count(config.attention, kind); };
  const auto ring = count(AttentionKind::kRing), sliding = count(AttentionKind::kSliding);
  std::string text = std::to_string(ring) + " ring, " + std::to_string(count(AttentionKind::kFull)) + " full";
  if (sliding > 0) {
    text += ", " + std::to_string(sliding) + " sliding (window " + std::to_string(config.sliding_window) + ")";
  }
  if (ring == 0) return text;
  return text + " (" + ring_summary(config.ring) + ")";
}

std::string sharing_summary(const SharingConfig& sharing) {
  std::string kinds;
  for (const std::string& kind : sharing.kinds) kinds += (kinds.empty() ? "" : ", ") + kind;
  return kinds + " by groups of " + std::to_string(sharing.group_size) + " layers, rank " + std::to_string(sharing.rank);
}

std::string to_table(const Info& info) {
  std::ostringstream table;
  table << std::left;
  const auto row = [&](const char* label, const std::string& value, const std::string& note = "") {
    table << std::setw(18) << label << std::setw(note.empty() ? 0 : 12) << value << note << "\n";
  };
  const auto kind = [&](const char* label, int64_t parameters, uint64_t bytes) {
    std::ostringstream note;
    note << std::setw(12) << std::left << format_bytes(bytes) << std::fixed << std::setprecision(2) << "1/"
         << fp16_ratio(parameters, bytes);
    row(label, format_count(static_cast<double>(parameters)), parameters > 0 ? note.str() : format_bytes(bytes));
  };
  const ModelConfig& config = info.config;
  row("file", info.file);
  row("layers", std::to_string(config.num_hidden_layers) + ": " + attention_summary(config));
  row("attention", to_string(config.attention_mode));
  row("hidden size",
      std::to_string(config.hidden_size) + ", MLP " + std::to_string(config.intermediate_size));
  row("heads", std::to_string(config.num_attention_heads) + " of " + std::to_string(config.head_dim) + ", " +
                   std::to_string(config.num_key_value_heads) + " for keys and values");
  row("context", std::to_string(config.max_position_embeddings) + " tokens");
  row("vocabulary", std::to_string(info.vocabulary) + " pieces");
  row("linear weights", info.linear_format);
  if (config.sharing.group_size > 1) row("shared weights", sharing_summary(config.sharing));
  table << "\n";
  row("", "parameters", "file        of FP16");
  kind("embedding", info.parameters.embedding, info.bytes.embedding);
  kind("linear", info.parameters.linear, info.bytes.linear);
  if (info.parameters.delta > 0) kind("delta", info.parameters.delta, info.bytes.delta);
  kind("router", info.parameters.router, info.bytes.router);
  kind("norm", info.parameters.norm, info.bytes.norm);
  row("metadata", "-", format_bytes(info.bytes.metadata));
  kind("total", info.parameters.total(), info.bytes.total);
  table << "\n";
  row("cache", format_bytes(static_cast<uint64_t>(info.cache_bytes)), "at the full context");
  row("all-full twin's", format_bytes(static_cast<uint64_t>(info.all_full_cache_bytes)));
  return table.str();
}

class InfoCommand final : public Command {
 public:
  void add_options(CLI::App& app) override {
    app.add_option("MODEL", model_file_, "GGUF file")->type_name("FILE")->required();
  }

  Status run(const CommonOptions& common) override {
    RF_TRY(const Model model, Model::inspect(model_file_));
    const Info info = collect(model_file_, model);
    return common.json ? write_json(to_json(info)) : write_stdout(to_table(info));
  }

 private:
  std::string model_file_;
};

}  // namespace

std::unique_ptr<Command> make_info_command() {
  return std::make_unique<InfoCommand>();
}

}  // namespace ringflash::cli
