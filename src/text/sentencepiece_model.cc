#include "text/sentencepiece_model.h"

#include <bit>
#include <cstdint>

#include "base/in_quotes.h"

// The wire format: protobuf.dev/programming-guides/encoding. The message: ModelProto in
// sentencepiece_model.proto.
namespace ringflash {
namespace {

enum class WireType : uint32_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

struct Field {
  uint32_t number = 0;
  WireType type = WireType::kVarint;
  uint64_t value = 0;      ///< of a varint or a fixed number
  std::string_view bytes;  ///< of the kBytes type
};

/// Reads the fields of one message; nested messages get a reader of their own.
class MessageReader {
 public:
  MessageReader(std::string_view bytes, const char* what) : rest_(bytes), what_(what) {}

  bool done() const { return rest_.empty(); }

  Result<Field> next() {
    RF_TRY(const uint64_t tag, varint());
    Field field{static_cast<uint32_t>(tag >> 3), static_cast<WireType>(tag & 7), 0, {}};
    if (tag >> 35 != 0 || field.number == 0) return malformed("a field number out of range");
    switch (tag & 7) {
      case 0: {
        RF_TRY(field.value, varint());
        return field;
      }
      case 1: {
        RF_TRY(field.value, fixed(8));
        return field;
      }
      case 2: {
        RF_TRY(const uint64_t size, varint());
        if (size > rest_.size()) return malformed("a field that runs over its message's end");
        field.bytes = rest_.substr(0, size);
        rest_.remove_prefix(size);
        return field;
      }
      case 5: {
        RF_TRY(field.value, fixed(4));
        return field;
      }
      default:
        return malformed("wire type " + std::to_string(tag & 7));
    }
  }

  Error malformed(const std::string& found) const {
    return Error{std::string("not a sentencepiece model: ") + found + " in its " + what_};
  }

 private:
  Result<uint64_t> varint() {
    uint64_t value = 0;
    for (size_t i = 0; i < rest_.size() && i < 10; ++i) {
      const auto byte = static_cast<unsigned char>(rest_[i]);
      value |= static_cast<uint64_t>(byte & 0x7F) << (7 * i);
      if (byte < 0x80) {
        rest_.remove_prefix(i + 1);
        return value;
      }
    }
    return malformed("an unfinished number");
  }

  Result<uint64_t> fixed(size_t size) {
    if (rest_.size() < size) return malformed("an unfinished number");
    uint64_t value = 0;
    for (size_t i = 0; i < size; ++i)
      value |= static_cast<uint64_t>(static_cast<unsigned char>(rest_[i])) << (8 * i);
    rest_.remove_prefix(size);
    return value;
  }

  std::string_view rest_;
  const char* what_;
};

/// Calls visit(field) for every field of the message; `visit` ignores the numbers that it does not know.
template <typename Visit>
Status for_each_field(std::string_view bytes, const char* what, Visit visit) {
  MessageReader reader(bytes, what);
  while (!reader.done()) {
    RF_TRY(const Field field, reader.next());
    if (!visit(field))
      return reader.malformed("field " + std::to_string(field.number) + " of the wrong type");
  }
  return {};
}

// Each stores a field's value, or returns false if the field has another wire type.
bool store(const Field& field, bool& out) {
  out = field.value != 0;
  return field.type == WireType::kVarint;
}
bool store(const Field& field, int32_t& out) {
  out = static_cast<int32_t>(field.value);
  return field.type == WireType::kVarint;
}
bool store(const Field& field, float& out) {
  out = std::bit_cast<float>(static_cast<uint32_t>(field.value));
  return field.type == WireType::kFixed32;
}
bool store(const Field& field, std::string_view& out) {
  out = field.bytes;
  return field.type == WireType::kBytes;
}

constexpr int32_t kUnigram = 1, kBpe = 2;

// Defaults as in the .proto file.
struct TrainerSpec {
  int32_t model_type = kUnigram, unk_id = 0, bos_id = 1, eos_id = 2;
  bool whitespace_as_suffix = false, byte_fallback = false;
};

struct NormalizerSpec {
  std::string_view name, charsmap;
  bool add_dummy_prefix = true, remove_extra_whitespaces = true, escape_whitespaces = true;
};

Status parse_piece(std::string_view bytes, Piece& piece) {
  std::string_view text;
  auto type = static_cast<int32_t>(PieceType::kNormal);
  RF_TRY_VOID(for_each_field(bytes, "piece", [&](const Field& field) {
    switch (field.number) {
      case 1:
        return store(field, text);
      case 2:
        return store(field, piece.score);
      case 3:
        return store(field, type);
      default:
        return true;
    }
  }));
  piece.text = text;
  piece.type = static_cast<PieceType>(type);
  return {};
}

Status parse_trainer_spec(std::string_view bytes, TrainerSpec& spec) {
  return for_each_field(bytes, "trainer_spec", [&](const Field& field) {
    switch (field.number) {
      case 3:
        return store(field, spec.model_type);
      case 24:
        return store(field, spec.whitespace_as_suffix);
      case 35:
        return store(field, spec.byte_fallback);
      case 40:
        return store(field, spec.unk_id);
      case 41:
        return store(field, spec.bos_id);
      case 42:
        return store(field, spec.eos_id);
      default:
        return true;
    }
  });
}

Status parse_normalizer_spec(std::string_view bytes, NormalizerSpec& spec) {
  return for_each_field(bytes, "normalizer_spec", [&](const Field& field) {
    switch (field.number) {
      case 1:
        return store(field, spec.name);
      case 2:
        return store(field, spec.charsmap);
      case 3:
        return store(field, spec.add_dummy_prefix);
      case 4:
        return store(field, spec.remove_extra_whitespaces);
      case 5:
        return store(field, spec.escape_whitespaces);
      default:
        return true;
    }
  });
}

Error unsupported(const std::string& what) {
  return Error{"unsupported sentencepiece model: " + what};
}

Status check_supported(const TrainerSpec& trainer, const NormalizerSpec& normalizer,
                       const NormalizerSpec& denormalizer) {
  if (trainer.model_type != kUnigram && trainer.model_type != kBpe) {
    return unsupported("model_type is " + std::to_string(trainer.model_type) + ", expected 1 (unigram) or 2 (BPE)");
  }
  if (trainer.whitespace_as_suffix) return unsupported("treat_whitespace_as_suffix is true, expected false");
  if (!normalizer.charsmap.empty()) {
    return unsupported("the normalizer is " + in_quotes(normalizer.name) + ", expected identity");
  }
  if (normalizer.remove_extra_whitespaces)
    return unsupported("remove_extra_whitespaces is true, expected false");
  if (!normalizer.escape_whitespaces) return unsupported("escape_whitespaces is false, expected true");
  if (!denormalizer.charsmap.empty()) return unsupported("it has a denormalizer, expected none");
  return {};
}

Status check_bytes(const Vocabulary& vocabulary, bool byte_fallback) {
  bool has_bytes = false;
  for (const Piece& piece : vocabulary.pieces) has_bytes |= piece.type == PieceType::kByte;
  if (has_bytes == byte_fallback) return {};
  return unsupported(byte_fallback ? "byte_fallback is on but there are no byte pieces"
                                   : "byte_fallback is off but there are byte pieces");
}

}  // namespace

Result<Vocabulary> parse_sentencepiece_model(std::string_view bytes) {
  Vocabulary vocabulary;
  TrainerSpec trainer;
  NormalizerSpec normalizer, denormalizer;
  Status nested;
  const Status status = for_each_field(bytes, "top level", [&](const Field& field) {
    const bool known = field.number <= 3 || field.number == 5;
    if (!known || !nested) return true;
    if (field.type != WireType::kBytes) return false;
    switch (field.number) {
      case 1:
        nested = parse_piece(field.bytes, vocabulary.pieces.emplace_back());
        break;
      case 2:
        nested = parse_trainer_spec(field.bytes, trainer);
        break;
      case 3:
        nested = parse_normalizer_spec(field.bytes, normalizer);
        break;
      default:
        nested = parse_normalizer_spec(field.bytes, denormalizer);
        break;
    }
    return true;
  });
  RF_TRY_VOID(status);
  RF_TRY_VOID(nested);
  RF_TRY_VOID(check_supported(trainer, normalizer, denormalizer));
  RF_TRY_VOID(check_bytes(vocabulary, trainer.byte_fallback));
  if (trainer.model_type == kUnigram) vocabulary.kind = TokenizerKind::kUnigram;
  vocabulary.unk_id = trainer.unk_id;
  vocabulary.bos_id = trainer.bos_id;
  vocabulary.eos_id = trainer.eos_id;
  vocabulary.add_bos = trainer.bos_id >= 0;
  vocabulary.add_dummy_prefix = normalizer.add_dummy_prefix;
  RF_TRY_VOID(validate(vocabulary));
  return vocabulary;
}

}  // namespace ringflash
