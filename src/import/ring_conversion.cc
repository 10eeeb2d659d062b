#include "import/ring_conversion.h"

#include <algorithm>
#include <string>

namespace ringflash {
namespace {

Status check_keep_full(const ModelConfig& config, const std::vector<int64_t>& layers) {
  for (const int64_t layer : layers) {
    const std::string name = "layer " + std::to_string(layer);
    if (layer < 0 || layer >= config.num_hidden_layers) {
      return Error{name + " cannot stay full: the model has layers 0 to " +
                   std::to_string(config.num_hidden_layers - 1)};
    }
    const AttentionKind kind = config.attention[static_cast<size_t>(layer)];
    if (kind != AttentionKind::kFull) return Error{name + " cannot stay full: it is " + to_string(kind)};
  }
  return {};
}

ImportedTensor zeros(const TensorSpec& spec) {
  return {spec, DType::kF32, [count = spec.elements()]() -> Result<std::vector<float>> {
            return std::vector<float>(static_cast<size_t>(count));
          }};
}

/// The config's inventory, of what is there and of routers.
std::vector<ImportedTensor> with_routers(std::vector<ImportedTensor> tensors, const ModelConfig& config) {
  std::vector<ImportedTensor> all;
  for (const TensorSpec& spec : tensor_inventory(config)) {
    if (spec.role == TensorRole::kRouter) {
      all.push_back(zeros(spec));
      continue;
    }
    const auto found = std::ranges::find(tensors, spec.name, [](const ImportedTensor& t) { return t.spec.name; });
    RF_CHECK(found != tensors.end());
    all.push_back(std::move(*found));
  }
  return all;
}

}  // namespace

Status convert_to_ring(ImportedModel& model, const RingConversion& conversion) {
  ModelConfig& config = model.config;
  if (!config.has_layers(AttentionKind::kFull)) return Error{"the model has no full attention that a ring could replace"};
  RF_TRY_VOID(check_keep_full(config, conversion.keep_full));
  config.ring = conversion.ring;
  config.ring.global_rope = true;
  for (int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
    AttentionKind& kind = config.attention[static_cast<size_t>(layer)];
    const bool kept = std::ranges::find(conversion.keep_full, layer) != conversion.keep_full.end();
    if (kind == AttentionKind::kFull && !kept) kind = AttentionKind::kRing;
  }
  RF_TRY_VOID(validate(config));
  model.tensors = with_routers(std::move(model.tensors), config);
  return {};
}

}  // namespace ringflash
