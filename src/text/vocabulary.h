// A tokenizer's vocabulary as plain data, wherever it was read from.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace ringflash {

/// As in sentencepiece's model and GGUF's tokenizer.ggml.token_type: same numbers.
enum class PieceType : int32_t { kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4, kUnused = 5, kByte = 6 };

struct Piece {
  /// UTF-8; of sentencepiece models with spaces as U+2581 and bytes as "<0x0A>", of byte-level ones in the alphabet of
  /// byte_alphabet.h, except for control and user-defined pieces, which are plain.
  std::string text;
  float score = 0;  ///< sentencepiece BPE: minus the merge rank; unigram: log probability; byte-level BPE: none
  PieceType type = PieceType::kNormal;

  bool operator==(const Piece&) const = default;
};

enum class TokenizerKind {
  kSentencePieceBpe,  ///< Llama 2, Gemma, our own
  kUnigram,           ///< sentencepiece's other model (Kudo 2018)
  kByteLevelBpe,      ///< GPT-2, Llama 3, Qwen, SmolLM
};

struct Vocabulary {
  TokenizerKind kind = TokenizerKind::kSentencePieceBpe;
  std::vector<Piece> pieces;
  int32_t unk_id = 0, bos_id = 1, eos_id = 2;  ///< -1: none
  bool add_bos = true;            ///< whether a text to be continued starts with BOS
  bool composes = false;          ///< whether text is brought into Unicode's form NFC first, as Qwen's is
  bool add_dummy_prefix = false;  ///< sentencepiece: whether a space is put before the text, as Llama 2's does

  // Of byte-level BPE alone.
  std::vector<std::pair<std::string, std::string>> merges;  ///< texts of pieces, the best pair first
  std::vector<std::string> split_patterns;  ///< regular expressions that cut the text into words, one after another
  bool whole_words_first = false;  ///< a word that is a piece is taken as such, whatever merging would give

  std::string chat_template;  ///< Jinja; empty: none

  bool operator==(const Vocabulary&) const = default;
};

/// Checks ids, byte pieces (all 256 or none) and duplicates; the error says which piece.
Status validate(const Vocabulary& vocabulary);

/// Makes it as long as the model's embedding: unused pieces "[PAD7]" are added at the end, control and user-defined
/// ones removed from there. Errors: normal pieces would have to go.
Status resize_vocabulary(Vocabulary& vocabulary, int64_t size);

/// The id of a text, -1 if it is no piece. O(pieces).
int32_t find_piece(const Vocabulary& vocabulary, std::string_view text);

}  // namespace ringflash
