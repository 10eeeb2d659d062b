#include "model/sharing.h"

#include <algorithm>

#include "base/in_quotes.h"

namespace ringflash {
namespace {

constexpr int64_t kLargestGroup = 4096;

}  // namespace

bool SharingConfig::covers(std::string_view kind) const {
  return std::find(kinds.begin(), kinds.end(), kind) != kinds.end();
}

int64_t SharingConfig::owner(int64_t layer, std::string_view kind) const {
  return covers(kind) ? layer - layer % group_size : layer;
}

int64_t SharingConfig::sharers(int64_t layer, int64_t layers, std::string_view kind) const {
  return covers(kind) ? std::min(group_size, layers - owner(layer, kind)) : 1;
}

Status validate(const SharingConfig& config, int64_t largest_rank) {
  const auto in_range = [](const char* key, int64_t value, int64_t low, int64_t high) -> Status {
    if (value >= low && value <= high) return {};
    return Error{"'" + std::string(key) + "' must be between " + std::to_string(low) + " and " + std::to_string(high) +
                 ", found " + std::to_string(value)};
  };
  RF_TRY_VOID(in_range("sharing_group_size", config.group_size, 1, kLargestGroup));
  RF_TRY_VOID(in_range("sharing_rank", config.rank, 0, largest_rank));
  for (auto kind = config.kinds.begin(); kind != config.kinds.end(); ++kind) {
    if (std::find(std::begin(kLinearKinds), std::end(kLinearKinds), *kind) == std::end(kLinearKinds)) {
      return Error{"'sharing_kinds' must name weight matrices of a layer (q_proj, k_proj, v_proj, o_proj, gate_proj, "
                   "up_proj, down_proj), found " + in_quotes(*kind)};
    }
    if (std::find(config.kinds.begin(), kind, *kind) != kind) {
      return Error{"'sharing_kinds' must name each kind once, found " + in_quotes(*kind) + " again"};
    }
  }
  return {};
}

}  // namespace ringflash
