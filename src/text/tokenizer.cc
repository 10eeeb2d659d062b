#include "text/tokenizer.h"

#include <algorithm>
#include <array>
#include <functional>
#include <unordered_map>

#include "text/bpe.h"
#include "text/byte_piece.h"
#include "text/utf8.h"

namespace ringflash {
namespace {

constexpr std::string_view kUnknownText = " \xE2\x81\x87 ";  // what sentencepiece shows for an unknown piece
constexpr size_t kMaxSegment = 1 << 30;  // characters merged at once, so that 32-bit places do

std::string replace_space_symbols(std::string_view text) {
  std::string out;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find(kSpaceSymbol, begin), text.size());
    out += text.substr(begin, end - begin);
    if (end < text.size()) out += ' ';
    begin = end + kSpaceSymbol.size();
  }
  return out;
}

/// Pieces that are found in the text before anything else: the longest one at each place wins.
class UserDefinedPieces {
 public:
  /// `text` must stay where it is.
  void add(std::string_view text, int32_t id) {
    ids_.emplace(text, id);
    auto& lengths = lengths_[static_cast<unsigned char>(text[0])];
    const auto place = std::lower_bound(lengths.begin(), lengths.end(), text.size(), std::greater<>());
    if (place == lengths.end() || *place != text.size()) lengths.insert(place, text.size());
  }

  /// The id of the longest piece that `text` begins with, or -1.
  int32_t match(std::string_view text) const {
    for (const size_t length : lengths_[static_cast<unsigned char>(text[0])]) {
      if (length > text.size()) continue;
      const auto found = ids_.find(text.substr(0, length));
      if (found != ids_.end()) return found->second;
    }
    return -1;
  }

 private:
  std::unordered_map<std::string_view, int32_t> ids_;
  std::array<std::vector<size_t>, 256> lengths_;  // by the first byte, longest first
};

}  // namespace

struct Tokenizer::State {
  explicit State(Vocabulary from);
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  class Encoder;

  Vocabulary vocabulary;
  std::vector<std::string> decoded;    // by id: the bytes it stands for
  std::vector<std::string> mergeable;  // by id: the same for what merging can give, else empty
  UserDefinedPieces user_defined;
  std::array<int32_t, 256> byte_ids{};  // all -1 without byte pieces
  std::unique_ptr<Bpe> bpe;
};

Tokenizer::State::State(Vocabulary from) : vocabulary(std::move(from)) {
  byte_ids.fill(-1);
  decoded.resize(vocabulary.pieces.size());
  mergeable.resize(vocabulary.pieces.size());
  for (size_t i = 0; i < vocabulary.pieces.size(); ++i) {
    const Piece& piece = vocabulary.pieces[i];
    const auto id = static_cast<int32_t>(i);
    // A space of the text is looked for as U+2581, so sentencepiece never finds a piece with a plain space.
    const bool findable = piece.text.find(' ') == std::string::npos;
    switch (piece.type) {
      case PieceType::kNormal:
      case PieceType::kUnused:
        decoded[i] = replace_space_symbols(piece.text);
        if (findable) mergeable[i] = decoded[i];
        continue;
      case PieceType::kUserDefined:
        decoded[i] = replace_space_symbols(piece.text);
        if (findable) user_defined.add(decoded[i], id);
        continue;
      case PieceType::kByte: {
        const uint8_t byte = parse_byte_piece(piece.text).value();
        decoded[i] = std::string(1, static_cast<char>(byte));
        byte_ids[byte] = id;
        continue;
      }
      case PieceType::kUnknown:
        decoded[i] = kUnknownText;
        continue;
      case PieceType::kControl:
        continue;
    }
    RF_UNREACHABLE();
  }
  bpe = std::make_unique<Bpe>(vocabulary, mergeable);
}

/// One encode(): the segment being collected, and the ids given out so far.
class Tokenizer::State::Encoder {
 public:
  explicit Encoder(const State& state) : state_(state), space_(state.bpe->character(' ')) {}

  std::vector<int32_t> run(std::string_view text) {
    while (!text.empty()) text.remove_prefix(take(text));
    flush();
    return std::move(ids_);
  }

 private:
  /// Takes the user-defined piece or character that the text begins with, and returns its size.
  size_t take(std::string_view text) {
    if (const int32_t id = state_.user_defined.match(text); id >= 0) {
      flush();
      ids_.push_back(id);
      return state_.decoded[static_cast<size_t>(id)].size();
    }
    const Utf8Char c = first_utf8_char(text);
    // A U+2581 of the text itself must not become a space: it goes the way of an unknown character.
    const bool known = c.kind == Utf8Char::Kind::kValid && c.code != kSpaceSymbolCode;
    const int32_t id = known ? state_.bpe->character(c.code) : -1;
    if (id < 0) {
      flush();
      append_bytes(text.substr(0, c.size));
    } else {
      if (ends_segment(id)) flush();
      segment_.push_back(id);
    }
    return c.size;
  }

  bool ends_segment(int32_t next) const {
    if (segment_.size() == kMaxSegment) return true;
    return next == space_ && state_.bpe->splits_at_spaces() && !segment_.empty() && segment_.back() != space_;
  }

  void flush() {
    state_.bpe->merge(segment_, workspace_);
    for (const int32_t id : segment_) {
      if (static_cast<size_t>(id) < state_.decoded.size()) {
        ids_.push_back(id);
      } else {
        append_bytes(state_.bpe->text(id));
      }
    }
    segment_.clear();
  }

  void append_bytes(std::string_view bytes) {
    for (const char c : bytes) {
      const int32_t id = state_.byte_ids[static_cast<unsigned char>(c)];
      if (id >= 0) {
        ids_.push_back(id);
      } else if (ids_.empty() || ids_.back() != state_.vocabulary.unk_id) {
        ids_.push_back(state_.vocabulary.unk_id);  // one for a run of unknown characters
      }
    }
  }

  const State& state_;
  const int32_t space_;
  std::vector<int32_t> segment_, ids_;
  Bpe::Workspace workspace_;
};

Result<Tokenizer> Tokenizer::create(Vocabulary vocabulary) {
  RF_TRY_VOID(validate(vocabulary));
  return Tokenizer(std::make_unique<State>(std::move(vocabulary)));
}

Tokenizer::Tokenizer(std::unique_ptr<State> state) : state_(std::move(state)) {}
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;
Tokenizer::~Tokenizer() = default;

std::vector<int32_t> Tokenizer::encode(std::string_view text) const {
  State::Encoder encoder(*state_);
  if (!state_->vocabulary.add_dummy_prefix || text.empty()) return encoder.run(text);
  return encoder.run(std::string(1, ' ').append(text));
}

std::string Tokenizer::decode(std::span<const int32_t> ids) const {
  std::string text;
  for (const int32_t id : ids) text += bytes(id);
  if (state_->vocabulary.add_dummy_prefix && text.starts_with(' ')) text.erase(0, 1);
  return text;
}

std::string_view Tokenizer::bytes(int32_t id) const {
  RF_CHECK(id >= 0 && id < size());
  return state_->decoded[static_cast<size_t>(id)];
}

int64_t Tokenizer::size() const {
  return static_cast<int64_t>(state_->vocabulary.pieces.size());
}

const Vocabulary& Tokenizer::vocabulary() const {
  return state_->vocabulary;
}

}  // namespace ringflash
