// The kinds of tokenizers behind Tokenizer: plain text to ids, special pieces already taken out.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "text/vocabulary.h"

namespace ringflash {

class Encoder {
 public:
  virtual ~Encoder() = default;
  /// Appends the ids of any bytes. From several threads at once.
  virtual void encode(std::string_view text, std::vector<int32_t>& ids) const = 0;
};

/// A validated vocabulary, and by id the bytes each piece stands for, with the spaces of the text as spaces.
/// Both must outlive the encoders.
struct DecodedVocabulary {
  const Vocabulary& vocabulary;
  const std::vector<std::string>& bytes;
};

Result<std::unique_ptr<Encoder>> make_byte_level_encoder(const DecodedVocabulary& from);
std::unique_ptr<Encoder> make_sentencepiece_bpe_encoder(const DecodedVocabulary& from);
std::unique_ptr<Encoder> make_unigram_encoder(const DecodedVocabulary& from);

/// What becomes of text that no piece of a sentencepiece model covers: byte pieces, or one <unk> for a run of
/// it.
class ByteFallback {
 public:
  explicit ByteFallback(const Vocabulary& vocabulary);
  void append(std::string_view bytes, std::vector<int32_t>& ids) const;

 private:
  std::array<int32_t, 256> byte_ids_;  // all -1 without byte pieces
  int32_t unk_id_;
};

}  // namespace ringflash
