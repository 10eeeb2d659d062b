#include "text/byte_piece.h"
#include "text/encoder.h"

namespace ringflash {

ByteFallback::ByteFallback(const Vocabulary& vocabulary) : unk_id_(vocabulary.unk_id) {
  byte_ids_.fill(-1);
  for (size_t id = 0; id < vocabulary.pieces.size(); ++id) {
    const Piece& piece = vocabulary.pieces[id];
    if (piece.type == PieceType::kByte)
      byte_ids_[parse_byte_piece(piece.text).value()] = static_cast<int32_t>(id);
  }
}

void ByteFallback::append(std::string_view bytes, std::vector<int32_t>& ids) const {
  for (const char c : bytes) {
    const int32_t id = byte_ids_[static_cast<unsigned char>(c)];
    if (id >= 0) {
      ids.push_back(id);
    } else if (ids.empty() || ids.back() != unk_id_) {
      ids.push_back(unk_id_);
    }
  }
}

}  // namespace ringflash
