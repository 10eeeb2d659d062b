// A small byte-level vocabulary, and whether this build can split text at all.
#pragma once

#include "text/byte_alphabet.h"
#include "text/split_patterns.h"
#include "text/splitter.h"
#include "text/vocabulary.h"

namespace ringflash::testing {

/// Builds without PCRE2 have no byte-level tokenizers.
inline bool can_split() {
  return Splitter::create({"a"}).ok();
}

/// Ids 0 to 255 the bytes, then what the merges make ("h e" is "he"), then "<|im_start|>", "<|im_end|>" and
/// the user-defined "<think>".
inline Vocabulary byte_level_vocabulary(const std::vector<std::pair<std::string, std::string>>& merges) {
  Vocabulary v;
  v.kind = TokenizerKind::kByteLevelBpe;
  for (int byte = 0; byte < 256; ++byte) {
    v.pieces.push_back({to_byte_alphabet(std::string(1, static_cast<char>(byte)))});
  }
  for (const auto& [left, right] : merges) {
    v.merges.emplace_back(to_byte_alphabet(left), to_byte_alphabet(right));
    v.pieces.push_back({to_byte_alphabet(left + right)});
  }
  v.bos_id = static_cast<int32_t>(v.pieces.size());
  v.eos_id = v.bos_id + 1;
  v.unk_id = -1;
  v.pieces.push_back({"<|im_start|>", 0, PieceType::kControl});
  v.pieces.push_back({"<|im_end|>", 0, PieceType::kControl});
  v.pieces.push_back({"<think>", 0, PieceType::kUserDefined});
  v.add_bos = false;
  v.split_patterns = {kGpt2Pattern};
  return v;
}

}  // namespace ringflash::testing
