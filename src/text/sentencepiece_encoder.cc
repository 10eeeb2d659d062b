// Sentencepiece's BPE (Kudo and Richardson 2018).
#include "text/bpe.h"
#include "text/encoder.h"
#include "text/utf8.h"

namespace ringflash {
namespace {

constexpr size_t kMaxSegment = 1 << 30;  // characters merged at once, so that 32-bit places do

class SentencePieceBpe final : public Encoder {
 public:
  explicit SentencePieceBpe(const DecodedVocabulary& from)
      : mergeable_(mergeable_texts(from)), bpe_(from.vocabulary, mergeable_), fallback_(from.vocabulary) {}

  void encode(std::string_view text, std::vector<int32_t>& ids) const override {
    Segment segment;
    const int32_t space = bpe_.character(' ');
    while (!text.empty()) {
      const Utf8Char c = first_utf8_char(text);
      // A U+2581 of the text itself must not become a space: it goes the way of an unknown character.
      const bool known = c.kind == Utf8Char::Kind::kValid && c.code != kSpaceSymbolCode;
      const int32_t id = known ? bpe_.character(c.code) : -1;
      if (id < 0) {
        flush(segment, ids);
        fallback_.append(text.substr(0, c.size), ids);
      } else {
        if (ends(segment, id, space)) flush(segment, ids);
        segment.ids.push_back(id);
      }
      text.remove_prefix(c.size);
    }
    flush(segment, ids);
  }

 private:
  /// Text that is being collected, to be merged as one.
  struct Segment {
    std::vector<int32_t> ids;
    Bpe::Workspace workspace;
  };

  /// A space of the text is looked for as U+2581, so sentencepiece never finds a piece with a plain space.
  static std::vector<std::string> mergeable_texts(const DecodedVocabulary& from) {
    const auto& pieces = from.vocabulary.pieces;
    std::vector<std::string> texts(pieces.size());
    for (size_t i = 0; i < pieces.size(); ++i) {
      const bool takes_part = pieces[i].type == PieceType::kNormal || pieces[i].type == PieceType::kUnused;
      if (takes_part && pieces[i].text.find(' ') == std::string::npos) texts[i] = from.bytes[i];
    }
    return texts;
  }

  bool ends(const Segment& segment, int32_t next, int32_t space) const {
    if (segment.ids.size() == kMaxSegment) return true;
    return next == space && bpe_.splits_at_spaces() && !segment.ids.empty() && segment.ids.back() != space;
  }

  void flush(Segment& segment, std::vector<int32_t>& ids) const {
    bpe_.merge(segment.ids, segment.workspace);
    for (const int32_t id : segment.ids) {
      if (static_cast<size_t>(id) < mergeable_.size()) {
        ids.push_back(id);
      } else {
        fallback_.append(bpe_.text(id), ids);
      }
    }
    segment.ids.clear();
  }

  const std::vector<std::string> mergeable_;  // by id: the text of what merging can give, else empty
  const Bpe bpe_;
  const ByteFallback fallback_;
};

}  // namespace

std::unique_ptr<Encoder> make_sentencepiece_bpe_encoder(const DecodedVocabulary& from) {
  return std::make_unique<SentencePieceBpe>(from);
}

}  // namespace ringflash
