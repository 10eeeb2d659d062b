// Sentencepiece's BPE (Kudo and Richardson 2018) with byte fallback: text to ids and back, without the
// library.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/vocabulary.h"

namespace ringflash {

class Tokenizer {
 public:
  /// The vocabulary is validated first.
  static Result<Tokenizer> create(Vocabulary vocabulary);

  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;
  ~Tokenizer();

  /// Ids of any bytes: what no piece covers (invalid UTF-8 too) becomes byte pieces, or <unk> in a vocabulary
  /// without them. No BOS is added, and control pieces in the text are not recognised. O(n log n) in the
  /// text's length. Identical to sentencepiece's encoder for valid UTF-8 with an identity normaliser, except
  /// where that one loses the text: U+2581 stays itself (its bytes), and a space is <0x20> if no piece has
  /// one.
  std::vector<int32_t> encode(std::string_view text) const;

  /// The exact bytes the ids stand for; control pieces give nothing. decode(encode(x)) == x, if there are
  /// byte pieces. Every id must be in [0, size()).
  std::string decode(std::span<const int32_t> ids) const;

  /// The bytes of one id, for streaming; may be part of a UTF-8 character (see Utf8Stream). Lives as
  /// long as the tokenizer.
  std::string_view bytes(int32_t id) const;

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
