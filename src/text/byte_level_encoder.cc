// Byte-level BPE (Sennrich et al. 2016, Radford et al. 2019): words by regular expressions, bytes merged
// within each.
#include "base/in_quotes.h"
#include "text/bpe.h"
#include "text/encoder.h"
#include "text/piece_index.h"
#include "text/splitter.h"

namespace ringflash {
namespace {

constexpr size_t kMaxWord = 1 << 30;  // bytes merged at once, so that 32-bit places do

class ByteLevelBpe final : public Encoder {
 public:
  ByteLevelBpe(const DecodedVocabulary& from, Splitter splitter, const std::vector<Bpe::Merge>& merges)
      : splitter_(std::move(splitter)),
        bpe_(merges),
        words_(from.vocabulary.whole_words_first ? from.bytes.size() : 0) {
    byte_ids_.fill(-1);
    for (size_t i = 0; i < from.bytes.size(); ++i) {
      if (from.vocabulary.pieces[i].type != PieceType::kNormal) continue;
      const std::string& bytes = from.bytes[i];
      if (bytes.size() == 1) byte_ids_[static_cast<unsigned char>(bytes[0])] = static_cast<int32_t>(i);
      if (from.vocabulary.whole_words_first) words_.add(bytes, static_cast<int32_t>(i));
    }
  }

  void encode(std::string_view text, std::vector<int32_t>& ids) const override {
    std::vector<std::string_view> words;
    splitter_.split(text, words);
    std::vector<int32_t> word_ids;
    Bpe::Workspace workspace;
    for (std::string_view word : words) {
      for (; word.size() > kMaxWord; word.remove_prefix(kMaxWord)) {
        encode_word(word.substr(0, kMaxWord), word_ids, workspace, ids);
      }
      encode_word(word, word_ids, workspace, ids);
    }
  }

 private:
  void encode_word(std::string_view word, std::vector<int32_t>& word_ids, Bpe::Workspace& workspace,
                   std::vector<int32_t>& ids) const {
    if (const int32_t id = words_.find(word); id >= 0) {
      ids.push_back(id);
      return;
    }
    word_ids.clear();
    for (const char c : word) {
      // A byte without a piece (some vocabularies lack control characters) is dropped, as the models' own
      // tokenizers do.
      if (const int32_t id = byte_ids_[static_cast<unsigned char>(c)]; id >= 0) word_ids.push_back(id);
    }
    bpe_.merge(word_ids, workspace);
    ids.insert(ids.end(), word_ids.begin(), word_ids.end());
  }

  const Splitter splitter_;
  const Bpe bpe_;
  std::array<int32_t, 256> byte_ids_;
  PieceIndex words_;  // empty unless whole words come first
};

/// The merges by id.
Result<std::vector<Bpe::Merge>> resolve_merges(const Vocabulary& vocabulary) {
  PieceIndex ids(vocabulary.pieces.size());
  for (size_t i = 0; i < vocabulary.pieces.size(); ++i) {
    if (vocabulary.pieces[i].type == PieceType::kNormal)
      ids.add(vocabulary.pieces[i].text, static_cast<int32_t>(i));
  }
  std::vector<Bpe::Merge> merges;
  merges.reserve(vocabulary.merges.size());
  std::string merged;
  for (const auto& [left, right] : vocabulary.merges) {
    merged.assign(left).append(right);
    int32_t found[3];
    const std::string* texts[] = {&left, &right, &merged};
    for (size_t k = 0; k < 3; ++k) {
      found[k] = ids.find(*texts[k]);
      if (found[k] < 0) {
        return Error{"vocabulary: merge " + std::to_string(merges.size()) + " needs " + in_quotes(*texts[k]) +
                     ", which is no piece"};
      }
    }
    merges.push_back({found[0], found[1], found[2]});
  }
  return merges;
}

}  // namespace

Result<std::unique_ptr<Encoder>> make_byte_level_encoder(const DecodedVocabulary& from) {
  RF_TRY(Splitter splitter, Splitter::create(from.vocabulary.split_patterns));
  RF_TRY(const auto merges, resolve_merges(from.vocabulary));
  return std::unique_ptr<Encoder>(std::make_unique<ByteLevelBpe>(from, std::move(splitter), merges));
}

}  // namespace ringflash
