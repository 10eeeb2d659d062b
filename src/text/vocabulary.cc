#include "text/vocabulary.h"

#include <cmath>
#include <string_view>

#include "base/in_quotes.h"
#include "text/byte_piece.h"
#include "text/piece_index.h"
#include "text/utf8.h"

namespace ringflash {
namespace {

// Far above any real vocabulary; they bound what a hostile file can make the encoder's tables cost.
constexpr size_t kMaxPieces = 1 << 22;
constexpr size_t kMaxPieceBytes = 2048;

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const Utf8Char c = first_utf8_char(text);
    if (c.kind != Utf8Char::Kind::kValid) return false;
    text.remove_prefix(c.size);
  }
  return true;
}

Error bad_piece(size_t id, const std::string& why) {
  return Error{"vocabulary: piece " + std::to_string(id) + " " + why};
}

Status check_piece(const Piece& piece, size_t id) {
  if (piece.text.empty()) return bad_piece(id, "is empty");
  if (piece.text.size() > kMaxPieceBytes) {
    return bad_piece(id, "has " + std::to_string(piece.text.size()) + " bytes, expected at most " +
                             std::to_string(kMaxPieceBytes));
  }
  if (!is_utf8(piece.text)) return bad_piece(id, "is not valid UTF-8");
  if (!std::isfinite(piece.score)) return bad_piece(id, "is " + in_quotes(piece.text) + " with a score that is not finite");
  const auto type = static_cast<int32_t>(piece.type);
  if (type < 1 || type > 6) {
    return bad_piece(id, "is " + in_quotes(piece.text) + " with type " + std::to_string(type) + ", expected 1 to 6");
  }
  if (piece.type == PieceType::kByte && !parse_byte_piece(piece.text)) {
    return bad_piece(id, "is a byte piece named " + in_quotes(piece.text) + ", expected <0x00> to <0xFF>");
  }
  return {};
}

/// `id` is -1 or a piece of a type that `fits`.
Status check_special(const Vocabulary& vocabulary, const char* name, int32_t id, bool fits(PieceType)) {
  const auto size = static_cast<int64_t>(vocabulary.pieces.size());
  if (id < -1 || id >= size) {
    return Error{std::string("vocabulary: ") + name + " is " + std::to_string(id) + ", expected 0 to " +
                 std::to_string(size - 1)};
  }
  if (id < 0) return {};
  const PieceType type = vocabulary.pieces[static_cast<size_t>(id)].type;
  if (!fits(type)) {
    return bad_piece(static_cast<size_t>(id), std::string("is ") + name + " but has type " +
                                                  std::to_string(static_cast<int32_t>(type)));
  }
  return {};
}

bool is_special(PieceType type) {
  return type == PieceType::kControl || type == PieceType::kUserDefined;
}
bool may_be_unknown(PieceType type) {
  return type == PieceType::kUnknown || is_special(type);
}

/// What only some kinds of tokenizers need.
Status check_kind(const Vocabulary& vocabulary, size_t byte_pieces, size_t unknowns) {
  if (vocabulary.kind == TokenizerKind::kByteLevelBpe) {
    if (byte_pieces != 0) return Error{"vocabulary: byte pieces in a byte-level tokenizer"};
    if (vocabulary.split_patterns.empty()) return Error{"vocabulary: a byte-level tokenizer without a split pattern"};
    return {};
  }
  if (byte_pieces != 0 && byte_pieces != 256) {
    return Error{"vocabulary: " + std::to_string(byte_pieces) + " byte pieces, expected none or all 256"};
  }
  if (unknowns > 1) {
    return Error{"vocabulary: " + std::to_string(unknowns) + " pieces of the unknown type, expected 1"};
  }
  if (vocabulary.unk_id < 0 && byte_pieces == 0) {
    return Error{"vocabulary: neither an unknown piece nor byte pieces, so that not every text has ids"};
  }
  return {};
}

}  // namespace

Status validate(const Vocabulary& vocabulary) {
  const auto& pieces = vocabulary.pieces;
  if (pieces.empty()) return Error{"vocabulary: it has no pieces"};
  if (pieces.size() > kMaxPieces) {
    return Error{"vocabulary: " + std::to_string(pieces.size()) + " pieces, expected at most " +
                 std::to_string(kMaxPieces)};
  }
  PieceIndex seen(pieces.size());
  size_t byte_pieces = 0, unknowns = 0;
  for (size_t id = 0; id < pieces.size(); ++id) {
    RF_TRY_VOID(check_piece(pieces[id], id));
    const int32_t first = seen.add(pieces[id].text, static_cast<int32_t>(id));
    if (first != static_cast<int32_t>(id)) {
      const std::string name = in_quotes(pieces[id].text);
      return bad_piece(id, "is " + name + ", which stands already at " + std::to_string(first));
    }
    byte_pieces += pieces[id].type == PieceType::kByte;
    unknowns += pieces[id].type == PieceType::kUnknown;
  }
  RF_TRY_VOID(check_kind(vocabulary, byte_pieces, unknowns));
  RF_TRY_VOID(check_special(vocabulary, "unk_id", vocabulary.unk_id, may_be_unknown));
  RF_TRY_VOID(check_special(vocabulary, "bos_id", vocabulary.bos_id, is_special));
  RF_TRY_VOID(check_special(vocabulary, "eos_id", vocabulary.eos_id, is_special));
  if (vocabulary.add_bos && vocabulary.bos_id < 0) return Error{"vocabulary: texts must start with BOS, but there is none"};
  return {};
}

Status resize_vocabulary(Vocabulary& vocabulary, int64_t size) {
  auto& pieces = vocabulary.pieces;
  while (std::ssize(pieces) > size) {
    if (!is_special(pieces.back().type)) {
      return Error{"vocabulary: " + std::to_string(pieces.size()) + " pieces, but 'vocab_size' is " +
                   std::to_string(size)};
    }
    pieces.pop_back();
  }
  while (std::ssize(pieces) < size) {
    pieces.push_back({"[PAD" + std::to_string(pieces.size()) + "]", 0, PieceType::kUnused});
  }
  return validate(vocabulary);
}

int32_t find_piece(const Vocabulary& vocabulary, std::string_view text) {
  for (size_t id = 0; id < vocabulary.pieces.size(); ++id) {
    if (vocabulary.pieces[id].text == text) return static_cast<int32_t>(id);
  }
  return -1;
}

}  // namespace ringflash
