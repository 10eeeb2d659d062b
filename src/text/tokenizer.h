// Text to ids and back, for the tokenizers of the models there are: sentencepiece's BPE and unigram with byte fallback,
// and byte-level BPE, all without the libraries they come from.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/vocabulary.h"

namespace ringflash {

/// The bytes that a piece stands for in decoded text.
std::string decode_piece(const Piece& piece, TokenizerKind kind);

/// What the names of control pieces ("<|im_start|>", "</s>") in a text are.
enum class SpecialText {
  kPlain,   ///< text like any other
  kParsed,  ///< those pieces: for prompts and rendered chat templates
};

class Tokenizer {
 public:
  /// The vocabulary is validated first, and its split patterns compiled.
  static Result<Tokenizer> create(Vocabulary vocabulary);

  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;
  ~Tokenizer();

  /// Ids of any bytes: what no piece covers (invalid UTF-8 too) becomes byte pieces, or <unk> in a vocabulary without
  /// them. No BOS is added. User-defined pieces are taken out of the text first, the longest at each place. O(n log n)
  /// in the text's length. Identical to the encoders the models were trained with for valid UTF-8 without a normaliser
  /// except where sentencepiece loses the text: U+2581 stays itself (its bytes), and a space is <0x20> if no piece has
  /// one.
  std::vector<int32_t> encode(std::string_view text, SpecialText special = SpecialText::kPlain) const;

  /// encode() behind BOS, if texts start with one here and this one does not yet.
  std::vector<int32_t> encode_prompt(std::string_view text, SpecialText special = SpecialText::kParsed) const;

  /// The exact bytes the ids stand for; control pieces give nothing. decode(encode(x)) == x, if there are
  /// byte pieces. Every id must be in [0, size()).
  std::string decode(std::span<const int32_t> ids) const;

  /// The bytes of one id, for streaming; may be part of a UTF-8 character (see Utf8Stream). Lives as
  /// long as the tokenizer.
  std::string_view bytes(int32_t id) const;

  /// Whether a model says with this id that its text or its turn is over: EOS, and the control pieces whose names mean
  /// that ("<|im_end|>", "<|eot_id|>", "<end_of_turn>", ...).
  bool is_end(int32_t id) const;

  int64_t size() const;
  const Vocabulary& vocabulary() const;

 private:
  struct State;
  explicit Tokenizer(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

/// Holds back the tail of a byte stream that is not a whole UTF-8 character yet.
class Utf8Stream {
 public:
  /// Adds bytes and returns what is complete so far; invalid bytes come out as U+FFFD.
  std::string push(std::string_view bytes);
  /// The rest: an unfinished character comes out as U+FFFD.
  std::string finish();

 private:
  std::string pending_;
};

}  // namespace ringflash
