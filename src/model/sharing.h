// Which layers hold a weight matrix together: DESIGN section 6 as data.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace ringflash {

/// The weight matrices of a layer, by the last part of their names.
inline constexpr std::string_view kLinearKinds[] = {"q_proj",    "k_proj",  "v_proj",   "o_proj",
                                                    "gate_proj", "up_proj", "down_proj"};

/// Layers in a row form groups. A group has one matrix W of each shared kind, which its first layer keeps, and each of
/// its layers multiplies with W + A B, where A [out, rank] and B [rank, in] are the layer's own.
struct SharingConfig {
  int64_t group_size = 1;  ///< layers in a group, fewer in the last one; 1: none share. Key sharing_group_size
  /// Those of kLinearKinds that are shared. Key sharing_kinds
  std::vector<std::string> kinds = {std::begin(kLinearKinds), std::end(kLinearKinds)};
  int64_t rank = 16;  ///< of A B; 0: the layers multiply with W itself. Key sharing_rank

  bool covers(std::string_view kind) const;
  /// The layer that keeps the weight of this kind that `layer` multiplies with, maybe itself.
  int64_t owner(int64_t layer, std::string_view kind) const;
  /// How many of `layers` layers multiply with the weight that `layer` does.
  int64_t sharers(int64_t layer, int64_t layers, std::string_view kind) const;

  bool operator==(const SharingConfig&) const = default;
};

/// The error names the key. `largest_rank` bounds the rank.
Status validate(const SharingConfig& config, int64_t largest_rank);

}  // namespace ringflash
