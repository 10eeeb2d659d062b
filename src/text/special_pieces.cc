#include "text/special_pieces.h"

#include <algorithm>
#include <functional>

namespace ringflash {

void SpecialPieces::add(std::string_view text, int32_t id) {
  ids_.emplace(text, id);
  auto& lengths = lengths_[static_cast<unsigned char>(text[0])];
  const auto place = std::lower_bound(lengths.begin(), lengths.end(), text.size(), std::greater<>());
  if (place == lengths.end() || *place != text.size()) lengths.insert(place, text.size());
}

SpecialPieces::Match SpecialPieces::match(std::string_view text, size_t begin) const {
  for (const size_t length : lengths_[static_cast<unsigned char>(text[begin])]) {
    if (length > text.size() - begin) continue;
    const auto found = ids_.find(text.substr(begin, length));
    if (found != ids_.end()) return {begin, length, found->second};
  }
  return {};
}

SpecialPieces::Match SpecialPieces::find(std::string_view text, size_t from) const {
  for (size_t begin = from; begin < text.size(); ++begin) {
    if (const Match found = match(text, begin); found.id >= 0) return found;
  }
  return {text.size(), 0, -1};
}

}  // namespace ringflash
