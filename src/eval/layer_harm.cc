#include "eval/layer_harm.h"

#include <algorithm>

#include "eval/perplexity.h"

namespace ringflash {
namespace {

/// The model with those of its ring layers full that are not `ring`.
Result<Model> load_with_ring(const std::filesystem::path& file, int64_t ring) {
  return Model::load(file, [ring](ModelConfig& config) {
    for (int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
      AttentionKind& kind = config.attention[static_cast<size_t>(layer)];
      if (kind == AttentionKind::kRing && layer != ring) kind = AttentionKind::kFull;
    }
  });
}

Status check_length(const Model& model, std::string_view text) {
  const RingGeometry& ring = model.config().ring;
  const int64_t tokens = std::ssize(model.tokenizer().encode_prompt(text, SpecialText::kPlain));
  if (tokens > ring.window + ring.stride) return {};
  return Error{"a text must be longer than window and stride, " + std::to_string(ring.window + ring.stride) +
               " tokens, to show any harm, found " + std::to_string(tokens)};
}

std::vector<int64_t> ring_layers(const ModelConfig& config) {
  std::vector<int64_t> layers;
  for (int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
    if (config.attention[static_cast<size_t>(layer)] == AttentionKind::kRing) layers.push_back(layer);
  }
  return layers;
}

}  // namespace

std::vector<int64_t> HarmReport::worst(int64_t count) const {
  std::vector<LayerHarm> sorted = layers;
  std::ranges::stable_sort(sorted, std::ranges::greater(), &LayerHarm::bits_per_byte);
  sorted.resize(std::min(sorted.size(), static_cast<size_t>(count)));
  std::vector<int64_t> chosen;
  for (const LayerHarm& each : sorted) chosen.push_back(each.layer);
  std::ranges::sort(chosen);
  return chosen;
}

Result<HarmReport> measure_layer_harm(const std::filesystem::path& model_file, Executor& executor,
                                      std::string_view text,
                                      const std::function<void(int64_t, int64_t)>& progress) {
  RF_TRY(const Model converted, Model::load(model_file));
  RF_TRY_VOID(check_length(converted, text));
  const std::vector<int64_t> layers = ring_layers(converted.config());
  const int64_t runs = std::ssize(layers) + 1;
  int64_t finished = 0;
  const auto score = [&](int64_t ring) -> Result<double> {
    RF_TRY(const Model model, load_with_ring(model_file, ring));
    const auto on_scored = [&](int64_t done, int64_t total) { progress(finished * total + done, runs * total); };
    RF_TRY(const PerplexityReport report, evaluate_perplexity(model, executor, text, {}, on_scored));
    ++finished;
    return report.bits_per_byte();
  };
  HarmReport report;
  constexpr int64_t kNone = -1;
  RF_TRY(report.full_bits_per_byte, score(kNone));
  for (const int64_t layer : layers) {
    RF_TRY(const double bits_per_byte, score(layer));
    report.layers.push_back({layer, bits_per_byte});
  }
  return report;
}

}  // namespace ringflash
