// A tokenizer's vocabulary as plain data, wherever it was read from.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"

namespace ringflash {

/// As in sentencepiece's model and GGUF's tokenizer.ggml.token_type: same numbers.
enum class PieceType : int32_t { kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4, kUnused = 5, kByte = 6 };

struct Piece {
  std::string text;  ///< UTF-8, spaces as U+2581; "<0x0A>" for byte pieces
  float score = 0;   ///< BPE: minus the merge rank
  PieceType type = PieceType::kNormal;

  bool operator==(const Piece&) const = default;
};

struct Vocabulary {
  std::vector<Piece> pieces;
  int32_t unk_id = 0, bos_id = 1, eos_id = 2;
  bool add_dummy_prefix = false;  ///< whether a space is put before the text, as Llama 2's tokenizer does

  bool operator==(const Vocabulary&) const = default;
};

/// Checks ids, byte pieces (all 256 or none) and duplicates; the error says which piece.
Status validate(const Vocabulary& vocabulary);

}  // namespace ringflash
