#include "text/tokenizer.h"

#include <algorithm>
#include <array>

#include "text/byte_alphabet.h"
#include "text/byte_piece.h"
#include "text/encoder.h"
#include "text/nfc.h"
#include "text/special_pieces.h"
#include "text/utf8.h"

namespace ringflash {
namespace {

constexpr std::string_view kUnknownText = " \xE2\x81\x87 ";  // what sentencepiece shows for an unknown piece

/// Control pieces that end a text or a turn in the models there are.
constexpr std::array<std::string_view, 16> kEndNames = {
    "<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<|endoftext|>",   "<|end_of_text|>", "<|end|>", "<|return|>", "<|call|>",
    "</s>",       "<eos>",      "<EOT>",      "<end_of_turn>", "<turn|>",         "[EOS]",   "[EOT]",      "<|end_of_turn|>"};

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

}  // namespace

std::string decode_piece(const Piece& piece, TokenizerKind kind) {
  const bool byte_level = kind == TokenizerKind::kByteLevelBpe;
  switch (piece.type) {
    case PieceType::kNormal:
    case PieceType::kUnused:
      return byte_level ? from_byte_alphabet(piece.text).value_or(piece.text) : replace_space_symbols(piece.text);
    case PieceType::kUserDefined:
      return byte_level ? piece.text : replace_space_symbols(piece.text);
    case PieceType::kByte:
      return std::string(1, static_cast<char>(parse_byte_piece(piece.text).value()));
    case PieceType::kUnknown:
      return std::string(kUnknownText);
    case PieceType::kControl:
      return "";
  }
  RF_UNREACHABLE();
}

struct Tokenizer::State {
  explicit State(Vocabulary from);
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  Status make_encoder();

  Vocabulary vocabulary;
  std::vector<std::string> decoded;  // by id: the bytes it stands for
  std::vector<bool> ends;            // by id
  SpecialPieces user_defined, parsed;  // the second with the control pieces too
  std::unique_ptr<Encoder> encoder;
};

Tokenizer::State::State(Vocabulary from) : vocabulary(std::move(from)) {
  const auto& pieces = vocabulary.pieces;
  ends.resize(pieces.size());
  decoded.reserve(pieces.size());
  for (size_t i = 0; i < pieces.size(); ++i) {
    const Piece& piece = pieces[i];
    const auto id = static_cast<int32_t>(i);
    const std::string& bytes = decoded.emplace_back(decode_piece(piece, vocabulary.kind));
    if (piece.type == PieceType::kUserDefined) {
      user_defined.add(bytes, id);
      parsed.add(bytes, id);
    } else if (piece.type == PieceType::kControl || piece.type == PieceType::kUnknown) {
      parsed.add(piece.text, id);
    }
    const bool named_end = std::find(kEndNames.begin(), kEndNames.end(), piece.text) != kEndNames.end();
    ends[i] = id == vocabulary.eos_id || (named_end && piece.type == PieceType::kControl);
  }
}

Status Tokenizer::State::make_encoder() {
  const DecodedVocabulary from{vocabulary, decoded};
  switch (vocabulary.kind) {
    case TokenizerKind::kSentencePieceBpe:
      encoder = make_sentencepiece_bpe_encoder(from);
      return {};
    case TokenizerKind::kUnigram:
      encoder = make_unigram_encoder(from);
      return {};
    case TokenizerKind::kByteLevelBpe: {
      RF_TRY(encoder, make_byte_level_encoder(from));
      return {};
    }
  }
  RF_UNREACHABLE();
}

Result<Tokenizer> Tokenizer::create(Vocabulary vocabulary) {
  RF_TRY_VOID(validate(vocabulary));
  if (vocabulary.composes) RF_TRY_VOID(check_nfc());
  auto state = std::make_unique<State>(std::move(vocabulary));
  RF_TRY_VOID(state->make_encoder());
  return Tokenizer(std::move(state));
}

Tokenizer::Tokenizer(std::unique_ptr<State> state) : state_(std::move(state)) {}
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;
Tokenizer::~Tokenizer() = default;

std::vector<int32_t> Tokenizer::encode(std::string_view text, SpecialText special) const {
  const State& s = *state_;
  const SpecialPieces& pieces = special == SpecialText::kParsed ? s.parsed : s.user_defined;
  std::vector<int32_t> ids;
  bool starts = true;  // what follows is at the text's start or behind a control piece
  for (size_t begin = 0; begin < text.size();) {
    const SpecialPieces::Match found = pieces.find(text, begin);
    std::string_view plain = text.substr(begin, found.begin - begin);
    const std::string composed = s.vocabulary.composes ? to_nfc(plain) : "";
    if (s.vocabulary.composes) plain = composed;
    const bool at_control = found.id >= 0 && s.vocabulary.pieces[static_cast<size_t>(found.id)].type != PieceType::kUserDefined;
    if (s.vocabulary.add_dummy_prefix && starts && !(plain.empty() && at_control)) {
      s.encoder->encode(std::string(1, ' ').append(plain), ids);
    } else {
      s.encoder->encode(plain, ids);
    }
    if (found.id >= 0) ids.push_back(found.id);
    starts = at_control;
    begin = found.begin + found.size;
  }
  return ids;
}

std::vector<int32_t> Tokenizer::encode_prompt(std::string_view text, SpecialText special) const {
  std::vector<int32_t> ids = encode(text, special);
  const Vocabulary& vocabulary = state_->vocabulary;
  const bool has_bos = !ids.empty() && ids.front() == vocabulary.bos_id;
  if (vocabulary.add_bos && !has_bos) ids.insert(ids.begin(), vocabulary.bos_id);
  return ids;
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

bool Tokenizer::is_end(int32_t id) const {
  RF_CHECK(id >= 0 && id < size());
  return state_->ends[static_cast<size_t>(id)];
}

int64_t Tokenizer::size() const {
  return static_cast<int64_t>(state_->vocabulary.pieces.size());
}

const Vocabulary& Tokenizer::vocabulary() const {
  return state_->vocabulary;
}

}  // namespace ringflash
