// Pieces that are found in a text before anything else: the longest one at each place wins.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace ringflash {

class SpecialPieces {
 public:
  /// `text`, not empty, must stay where it is.
  void add(std::string_view text, int32_t id);

  struct Match {
    size_t begin = 0, size = 0;
    int32_t id = -1;  ///< -1: none
  };
  /// The first one in `text` from `from` on.
  Match find(std::string_view text, size_t from) const;

 private:
  Match match(std::string_view text, size_t begin) const;

  std::unordered_map<std::string_view, int32_t> ids_;
  std::array<std::vector<size_t>, 256> lengths_;  // by the first byte, longest first
};

}  // namespace ringflash
