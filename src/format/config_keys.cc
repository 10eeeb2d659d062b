#include "format/config_keys.h"

#include <algorithm>
#include <functional>
#include <nlohmann/json.hpp>

#include "format/config_json.h"

namespace ringflash {

Status set_config_keys(ModelConfig& model, const std::vector<std::pair<std::string, std::string>>& settings) {
  if (settings.empty()) return {};
  nlohmann::json json = nlohmann::json::parse(config_to_json(model));
  // A list per layer no longer fits when the number of layers changes; a uniform one can follow.
  const auto& kinds = model.attention;
  const bool uniform = std::adjacent_find(kinds.begin(), kinds.end(), std::not_equal_to<>()) == kinds.end();
  if (uniform) json["attention"] = to_string(kinds.front());
  for (const auto& [key, value] : settings) {
    nlohmann::json parsed = nlohmann::json::parse(value, nullptr, /*allow_exceptions=*/false);
    json[key] = parsed.is_discarded() ? nlohmann::json(value) : std::move(parsed);
  }
  Result<ModelConfig> changed = config_from_json(json.dump());
  if (!changed) return changed.error().in("--set");
  model = std::move(changed).value();
  return {};
}

}  // namespace ringflash
