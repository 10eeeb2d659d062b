#include "format/tokenizer_gguf.h"

#include <algorithm>

#include "base/in_quotes.h"
#include "format/gguf_values.h"
#include "text/split_patterns.h"
#include "text/utf8.h"

namespace ringflash {
namespace {

constexpr const char* kPatternsKey = "ringflash.tokenizer.split_patterns";
constexpr const char* kWholeWordsKey = "ringflash.tokenizer.whole_words_first";
constexpr const char* kNfcKey = "ringflash.tokenizer.nfc";
constexpr const char* kTemplateKey = "tokenizer.chat_template";

std::string key(const char* name) {
  return std::string("tokenizer.ggml.") + name;
}

bool has(const GgufFile& file, const std::string& full_key) {
  return file.metadata().contains(full_key);
}

/// -1 where the file has no such key and it need not.
Result<int32_t> token_id(const GgufFile& file, const char* name, bool required) {
  if (!required && !has(file, key(name))) return -1;
  RF_TRY(const int64_t id, file.integer(key(name)));
  if (std::in_range<int32_t>(id)) return static_cast<int32_t>(id);
  return Error{file.path().string() + ": '" + key(name) + "' must be a token id, found " +
               std::to_string(id)};
}

Result<bool> flag(const GgufFile& file, const std::string& full_key, bool otherwise) {
  if (!has(file, full_key)) return otherwise;
  return file.boolean(full_key);
}

Error wrong_count(const GgufFile& file, const char* name, size_t found, size_t expected) {
  return Error{file.path().string() + ": '" + key(name) +
               "' must have as many elements as there are tokens, " + std::to_string(expected) + ", found " +
               std::to_string(found)};
}

/// `scored`: byte-level tokenizers need no scores.
Result<std::vector<Piece>> read_pieces(const GgufFile& file, bool scored) {
  RF_TRY(auto texts, typed_array<std::string>(file, key("tokens"), "strings"));
  RF_TRY(const auto types, typed_array<int32_t>(file, key("token_type"), "i32"));
  std::vector<float> scores(texts.size());
  if (scored) {
    RF_TRY(scores, typed_array<float>(file, key("scores"), "f32"));
  }
  if (scores.size() != texts.size()) return wrong_count(file, "scores", scores.size(), texts.size());
  if (types.size() != texts.size()) return wrong_count(file, "token_type", types.size(), texts.size());
  std::vector<Piece> pieces;
  pieces.reserve(texts.size());
  for (size_t i = 0; i < texts.size(); ++i) {
    if (types[i] < static_cast<int32_t>(PieceType::kNormal) ||
        types[i] > static_cast<int32_t>(PieceType::kByte)) {
      return Error{file.path().string() +
                   ": 'tokenizer.ggml.token_type' must hold numbers from 1 to 6, found " +
                   std::to_string(types[i]) + " for token " + std::to_string(i)};
    }
    pieces.push_back({std::move(texts[i]), scores[i], static_cast<PieceType>(types[i])});
  }
  return pieces;
}

std::string replaced(std::string text, std::string_view from, std::string_view to) {
  for (size_t at = 0; (at = text.find(from, at)) != text.npos; at += to.size())
    text.replace(at, from.size(), to);
  return text;
}

/// GGUF has the user-defined pieces of sentencepiece models with plain spaces, sentencepiece with U+2581.
void set_user_defined_spaces(Vocabulary& vocabulary, std::string_view from, std::string_view to) {
  if (vocabulary.kind == TokenizerKind::kByteLevelBpe) return;
  for (Piece& piece : vocabulary.pieces) {
    if (piece.type == PieceType::kUserDefined) piece.text = replaced(std::move(piece.text), from, to);
  }
}

Status read_splitting(const GgufFile& file, Vocabulary& vocabulary) {
  SplitRules rules;
  if (has(file, kPatternsKey)) {
    RF_TRY(rules.patterns, typed_array<std::string>(file, kPatternsKey, "strings"));
    RF_TRY(rules.whole_words_first, flag(file, kWholeWordsKey, false));
  } else {
    std::string name = "default";
    if (has(file, key("pre"))) {
      RF_TRY(name, file.text(key("pre")));
    }
    Result<SplitRules> named = named_split_rules(name);
    if (!named) return named.error().in(file.path().string() + ": 'tokenizer.ggml.pre'");
    rules = std::move(named).value();
  }
  vocabulary.split_patterns = std::move(rules.patterns);
  vocabulary.whole_words_first = rules.whole_words_first;
  return {};
}

Status read_byte_level(const GgufFile& file, Vocabulary& vocabulary) {
  RF_TRY_VOID(read_splitting(file, vocabulary));
  RF_TRY(const auto merges, typed_array<std::string>(file, key("merges"), "strings"));
  for (const std::string& merge : merges) {
    const size_t space = merge.find(' ', 1);
    if (space == merge.npos) {
      return Error{file.path().string() + ": 'tokenizer.ggml.merges' must hold pairs, found " +
                   in_quotes(merge)};
    }
    vocabulary.merges.emplace_back(merge.substr(0, space), merge.substr(space + 1));
  }
  return {};
}

Status check_unigram(const GgufFile& file) {
  RF_TRY(const bool squeezes, flag(file, key("remove_extra_whitespaces"), false));
  if (!squeezes && !has(file, key("precompiled_charsmap"))) return {};
  return Error{file.path().string() + ": unsupported tokenizer: a unigram model with a normaliser"};
}

/// Files of old converters call them normal pieces.
void mark_ends(Vocabulary& vocabulary) {
  for (const int32_t id : {vocabulary.bos_id, vocabulary.eos_id}) {
    if (id < 0 || id >= std::ssize(vocabulary.pieces)) continue;
    PieceType& type = vocabulary.pieces[static_cast<size_t>(id)].type;
    if (type == PieceType::kNormal) type = PieceType::kControl;
  }
}

Result<TokenizerKind> read_kind(const GgufFile& file) {
  RF_TRY(const std::string model, file.text(key("model")));
  if (model == "llama") return TokenizerKind::kSentencePieceBpe;
  if (model == "gpt2") return TokenizerKind::kByteLevelBpe;
  if (model == "t5") return TokenizerKind::kUnigram;
  return Error{
      file.path().string() +
      ": 'tokenizer.ggml.model' must be 'llama' (sentencepiece BPE), 'gpt2' (byte-level BPE) or 't5' "
      "(unigram), found " +
      in_quotes(model)};
}

const char* model_name(TokenizerKind kind) {
  switch (kind) {
    case TokenizerKind::kSentencePieceBpe:
      return "llama";
    case TokenizerKind::kUnigram:
      return "t5";
    case TokenizerKind::kByteLevelBpe:
      return "gpt2";
  }
  RF_UNREACHABLE();
}

void write_pieces(const Vocabulary& vocabulary, GgufWriter& writer) {
  std::vector<std::string> texts;
  std::vector<float> scores;
  std::vector<int32_t> types;
  for (const Piece& piece : vocabulary.pieces) {
    texts.push_back(piece.text);
    scores.push_back(piece.score);
    types.push_back(static_cast<int32_t>(piece.type));
  }
  writer.set(key("tokens"), GgufArray(std::move(texts)));
  writer.set(key("token_type"), GgufArray(std::move(types)));
  if (vocabulary.kind != TokenizerKind::kByteLevelBpe)
    writer.set(key("scores"), GgufArray(std::move(scores)));
}

void write_byte_level(const Vocabulary& vocabulary, GgufWriter& writer) {
  std::vector<std::string> merges;
  for (const auto& [left, right] : vocabulary.merges) merges.push_back(left + " " + right);
  writer.set(key("merges"), GgufArray(std::move(merges)));
  const SplitRules rules{vocabulary.split_patterns, vocabulary.whole_words_first};
  const std::string name = name_of(rules);
  writer.set(key("pre"), name.empty() ? "default" : name);
  if (!name.empty()) return;
  writer.set(kPatternsKey, GgufArray(rules.patterns));
  writer.set(kWholeWordsKey, rules.whole_words_first);
}

}  // namespace

void write_vocabulary(const Vocabulary& vocabulary, GgufWriter& writer) {
  writer.set(key("model"), std::string(model_name(vocabulary.kind)));
  Vocabulary stored = vocabulary;
  set_user_defined_spaces(stored, kSpaceSymbol, " ");
  write_pieces(stored, writer);
  if (vocabulary.kind == TokenizerKind::kByteLevelBpe) write_byte_level(vocabulary, writer);
  const std::pair<const char*, int32_t> ids[] = {{"bos_token_id", vocabulary.bos_id},
                                                 {"eos_token_id", vocabulary.eos_id},
                                                 {"unknown_token_id", vocabulary.unk_id}};
  for (const auto& [name, id] : ids) {
    if (id >= 0) writer.set(key(name), integer_value(id));
  }
  writer.set(key("add_bos_token"), vocabulary.add_bos);
  writer.set(key("add_space_prefix"), vocabulary.add_dummy_prefix);
  if (vocabulary.composes) writer.set(kNfcKey, true);
  if (!vocabulary.chat_template.empty()) writer.set(kTemplateKey, vocabulary.chat_template);
}

Result<Vocabulary> read_vocabulary(const GgufFile& file) {
  Vocabulary vocabulary;
  RF_TRY(vocabulary.kind, read_kind(file));
  const bool byte_level = vocabulary.kind == TokenizerKind::kByteLevelBpe;
  RF_TRY(vocabulary.pieces, read_pieces(file, !byte_level));
  set_user_defined_spaces(vocabulary, " ", kSpaceSymbol);
  if (byte_level) RF_TRY_VOID(read_byte_level(file, vocabulary));
  if (vocabulary.kind == TokenizerKind::kUnigram) RF_TRY_VOID(check_unigram(file));
  RF_TRY(vocabulary.bos_id, token_id(file, "bos_token_id", /*required=*/false));
  RF_TRY(vocabulary.eos_id, token_id(file, "eos_token_id", /*required=*/true));
  RF_TRY(vocabulary.unk_id, token_id(file, "unknown_token_id", /*required=*/false));
  mark_ends(vocabulary);
  // What the key's absence means to GGUF's other readers: Llama's and GPT-4's descendants start with BOS.
  const bool starts = (!byte_level || vocabulary.whole_words_first) && vocabulary.bos_id >= 0;
  RF_TRY(vocabulary.add_bos, flag(file, key("add_bos_token"), starts));
  RF_TRY(vocabulary.add_dummy_prefix, flag(file, key("add_space_prefix"), !byte_level));
  if (byte_level) vocabulary.add_dummy_prefix = false;
  RF_TRY(vocabulary.composes, flag(file, kNfcKey, false));
  if (has(file, kTemplateKey)) {
    RF_TRY(vocabulary.chat_template, file.text(kTemplateKey));
  }
  if (Status status = validate(vocabulary); !status) return status.error().in(file.path().string());
  return vocabulary;
}

}  // namespace ringflash
