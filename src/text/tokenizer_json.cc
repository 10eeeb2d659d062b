#include "text/tokenizer_json.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <unordered_map>

#include "base/in_quotes.h"
#include "text/byte_piece.h"
#include "text/split_patterns.h"
#include "text/utf8.h"

namespace ringflash {
namespace {

using Json = nlohmann::json;

constexpr int64_t kMaxGaps = 1 << 16;  // ids that nothing stands for

Error unsupported(const std::string& what) {
  return Error{"unsupported tokenizer: " + what};
}

Result<Json> parse_object(std::string_view text) {
  Json json = Json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
  if (json.is_object()) return json;
  return Error{json.is_discarded() ? "not valid JSON" : "expected a JSON object"};
}

/// A member, null where there is none.
const Json& member(const Json& object, const char* key) {
  static const Json kNull;
  if (!object.is_object()) return kNull;
  const auto found = object.find(key);
  return found == object.end() ? kNull : *found;
}

std::string text_of(const Json& object, const char* key) {
  const Json& value = member(object, key);
  return value.is_string() ? value.get<std::string>() : "";
}

bool flag_of(const Json& object, const char* key, bool otherwise) {
  const Json& value = member(object, key);
  return value.is_boolean() ? value.get<bool>() : otherwise;
}

/// The steps of a pre-tokenizer or normaliser: itself, or those of a Sequence, however deep (files nest one
/// level).
void flatten(const Json& step, const char* list, std::vector<const Json*>& out, int depth = 0) {
  if (step.is_null() || depth > 8) return;
  const Json& inner = member(step, list);
  if (text_of(step, "type") != "Sequence" || !inner.is_array()) {
    out.push_back(&step);
    return;
  }
  for (const Json& each : inner) flatten(each, list, out, depth + 1);
}

/// One file being read.
class Reader {
 public:
  Reader(const Json& json, const TokenizerConfig& config) : json_(json), config_(config) {}

  Result<Vocabulary> run() {
    const Json& model = member(json_, "model");
    std::string type = text_of(model, "type");
    if (type.empty() && member(model, "merges").is_array()) type = "BPE";  // older files leave it out
    if (type == "Unigram") {
      out_.kind = TokenizerKind::kUnigram;
    } else if (type != "BPE") {
      return unsupported("its model is " + in_quotes(type) + ", expected BPE or Unigram");
    }
    id_limit_ = std::ssize(member(model, "vocab")) + std::ssize(member(json_, "added_tokens")) + kMaxGaps;
    RF_TRY_VOID(read_normalizer());
    RF_TRY_VOID(read_pre_tokenizer());
    RF_TRY_VOID(out_.kind == TokenizerKind::kUnigram ? read_unigram(model) : read_bpe(model));
    RF_TRY_VOID(read_added_tokens());
    RF_TRY_VOID(type_pieces(model));
    if (out_.kind == TokenizerKind::kSentencePieceBpe) score_by_merges();
    read_ends();
    RF_TRY_VOID(validate(out_));
    return std::move(out_);
  }

 private:
  Status read_normalizer() {
    std::vector<const Json*> steps;
    flatten(member(json_, "normalizer"), "normalizers", steps);
    for (const Json* step : steps) {
      const std::string type = text_of(*step, "type");
      if (type == "NFC") {
        out_.composes = true;
      } else if (type == "Prepend" && text_of(*step, "prepend") == kSpaceSymbol) {
        out_.add_dummy_prefix = true;
      } else if (type == "Replace" && text_of(member(*step, "pattern"), "String") == " " &&
                 text_of(*step, "content") == kSpaceSymbol) {
        spaces_are_symbols_ = true;
      } else {
        return unsupported("its normaliser is " + in_quotes(step->dump()));
      }
    }
    return {};
  }

  Status read_pre_tokenizer() {
    std::vector<const Json*> steps;
    flatten(member(json_, "pre_tokenizer"), "pretokenizers", steps);
    for (const Json* step : steps) RF_TRY_VOID(read_pre_tokenizer_step(*step));
    const bool byte_level = byte_level_ && out_.kind != TokenizerKind::kUnigram;
    if (byte_level) out_.kind = TokenizerKind::kByteLevelBpe;
    if (byte_level == spaces_are_symbols_)
      return unsupported("its pre-tokenizer is neither ByteLevel nor Metaspace");
    if (!byte_level && !out_.split_patterns.empty())
      return unsupported("split patterns beside U+2581 as the space");
    return {};
  }

  Status read_pre_tokenizer_step(const Json& step) {
    const std::string type = text_of(step, "type");
    if (type == "ByteLevel") {
      if (flag_of(step, "add_prefix_space", true)) return unsupported("ByteLevel with add_prefix_space");
      if (flag_of(step, "use_regex", true)) out_.split_patterns.push_back(kGpt2Pattern);
      byte_level_ = true;
    } else if (type == "Digits") {
      out_.split_patterns.push_back(flag_of(step, "individual_digits", false) ? R"(\p{N})" : R"(\p{N}+)");
    } else if (type == "Metaspace") {
      const std::string scheme = text_of(step, "prepend_scheme");
      out_.add_dummy_prefix = scheme.empty() ? flag_of(step, "add_prefix_space", true) : scheme != "never";
      spaces_are_symbols_ = true;
    } else if (type == "Split") {
      return read_split(step);
    } else {
      return unsupported("its pre-tokenizer has a step of type " + in_quotes(type));
    }
    return {};
  }

  Status read_split(const Json& step) {
    const Json& pattern = member(step, "pattern");
    const std::string behavior = text_of(step, "behavior"), plain = text_of(pattern, "String");
    // Behind the normaliser no plain space is left to split at.
    if (spaces_are_symbols_ && plain == " ") return {};
    // "Removed" and inverted keeps the matches, which in the patterns of real models leave nothing out.
    const bool inverted = flag_of(step, "invert", false);
    if (!(behavior == "Isolated" && !inverted) && !(behavior == "Removed" && inverted)) {
      return unsupported("a Split with behavior " + in_quotes(behavior) + (inverted ? ", inverted" : ""));
    }
    const std::string regex = text_of(pattern, "Regex");
    if (regex.empty()) return unsupported("a Split whose pattern is " + in_quotes(pattern.dump()));
    out_.split_patterns.push_back(regex);
    return {};
  }

  Status place(const std::string& text, const Json& id_value, PieceType type) {
    const int64_t id = id_value.is_number_integer() ? id_value.get<int64_t>() : -1;
    if (id < 0 || id >= id_limit_) {
      return Error{"the id of " + in_quotes(text) + " must be from 0 to " + std::to_string(id_limit_ - 1)};
    }
    const auto i = static_cast<size_t>(id);
    if (i >= out_.pieces.size()) out_.pieces.resize(i + 1);
    Piece& piece = out_.pieces[i];
    if (!piece.text.empty() && piece.text != text) {
      return Error{"the id " + std::to_string(id) + " stands for " + in_quotes(piece.text) + " and " +
                   in_quotes(text)};
    }
    piece.text = text;
    piece.type = type;
    return {};
  }

  Status read_bpe(const Json& model) {
    for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
      if (!text_of(model, key).empty())
        return unsupported(std::string(key) + " " + in_quotes(text_of(model, key)));
    }
    const Json& vocab = member(model, "vocab");
    if (!vocab.is_object()) return Error{"'model.vocab' must be an object"};
    for (const auto& [text, id] : vocab.items()) RF_TRY_VOID(place(text, id, PieceType::kNormal));
    out_.whole_words_first = flag_of(model, "ignore_merges", false);
    const Json& merges = member(model, "merges");
    if (!merges.is_array()) return Error{"'model.merges' must be an array"};
    for (const Json& merge : merges) {
      if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
        out_.merges.emplace_back(merge[0].get<std::string>(), merge[1].get<std::string>());
        continue;
      }
      const std::string pair = merge.is_string() ? merge.get<std::string>() : "";
      const size_t space = pair.find(' ');
      if (space == pair.npos)
        return Error{"merge " + std::to_string(out_.merges.size()) + " must be two pieces"};
      out_.merges.emplace_back(pair.substr(0, space), pair.substr(space + 1));
    }
    return {};
  }

  Status read_unigram(const Json& model) {
    const Json& vocab = member(model, "vocab");
    if (!vocab.is_array()) return Error{"'model.vocab' must be an array"};
    for (const Json& entry : vocab) {
      if (!entry.is_array() || entry.size() != 2 || !entry[0].is_string() || !entry[1].is_number()) {
        return Error{"piece " + std::to_string(out_.pieces.size()) + " must be a text and a number"};
      }
      out_.pieces.push_back({entry[0].get<std::string>(), entry[1].get<float>(), PieceType::kNormal});
    }
    return {};
  }

  Status read_added_tokens() {
    const Json& added = member(json_, "added_tokens");
    if (added.is_null()) return {};
    if (!added.is_array()) return Error{"'added_tokens' must be an array"};
    for (const Json& token : added) {
      const std::string text = text_of(token, "content");
      for (const char* key : {"single_word", "lstrip", "rstrip"}) {
        if (flag_of(token, key, false))
          return unsupported(in_quotes(text) + " is an added token with " + key);
      }
      const bool special = flag_of(token, "special", false);
      RF_TRY_VOID(place(text, member(token, "id"), special ? PieceType::kControl : PieceType::kUserDefined));
    }
    return {};
  }

  /// Bytes, <unk>, and ids that nothing stands for.
  Status type_pieces(const Json& model) {
    const bool byte_fallback = flag_of(model, "byte_fallback", false);
    const Json& unk = member(model, "unk_id");
    const std::string unk_text = text_of(model, "unk_token");
    out_.unk_id =
        unk.is_number_integer() && unk.get<int64_t>() >= 0 && unk.get<int64_t>() < std::ssize(out_.pieces)
            ? unk.get<int32_t>()
            : -1;
    for (size_t i = 0; i < out_.pieces.size(); ++i) {
      Piece& piece = out_.pieces[i];
      if (piece.text.empty()) {
        piece = {"[PAD" + std::to_string(i) + "]", 0, PieceType::kUnused};
      } else if (byte_fallback && piece.type == PieceType::kNormal && parse_byte_piece(piece.text)) {
        piece.type = PieceType::kByte;
      } else if (!unk_text.empty() && piece.text == unk_text) {
        out_.unk_id = static_cast<int32_t>(i);
      }
    }
    if (out_.unk_id >= 0 && out_.kind != TokenizerKind::kByteLevelBpe) {
      out_.pieces[static_cast<size_t>(out_.unk_id)].type = PieceType::kUnknown;
    } else if (out_.unk_id >= 0 && out_.pieces[static_cast<size_t>(out_.unk_id)].type == PieceType::kNormal) {
      out_.unk_id = -1;  // a piece like any other: every byte has one of its own anyway
    }
    return {};
  }

  /// Sentencepiece merges by the score of what comes out, which is the same order: a converter lists the
  /// merges of one piece after another.
  void score_by_merges() {
    std::unordered_map<std::string_view, Piece*> pieces;
    for (Piece& piece : out_.pieces) pieces.emplace(piece.text, &piece);
    float rank = 0;
    std::string merged;
    for (const auto& [left, right] : out_.merges) {
      merged.assign(left).append(right);
      const auto found = pieces.find(merged);
      if (found != pieces.end() && found->second->score == 0) found->second->score = --rank;
    }
    out_.merges.clear();
  }

  int32_t special_id(const std::optional<std::string>& text) const {
    const int32_t id = text ? find_piece(out_, *text) : -1;
    const bool special = id >= 0 && (out_.pieces[static_cast<size_t>(id)].type == PieceType::kControl ||
                                     out_.pieces[static_cast<size_t>(id)].type == PieceType::kUserDefined);
    return special ? id : -1;
  }

  /// BOS, EOS and whether texts start with BOS: as the configuration says, else as the post-processor does
  /// it.
  void read_ends() {
    out_.bos_id = special_id(config_.bos);
    out_.eos_id = special_id(config_.eos);
    bool template_adds = false;
    std::vector<const Json*> steps;
    flatten(member(json_, "post_processor"), "processors", steps);
    for (const Json* step : steps) {
      const Json& single = member(*step, "single");
      if (!single.is_array() || single.empty()) continue;
      const Json& first = member(single[0], "SpecialToken");
      if (first.is_null()) continue;
      template_adds = true;
      if (out_.bos_id < 0) out_.bos_id = special_id(text_of(first, "id"));
    }
    out_.add_bos = config_.add_bos.value_or(template_adds) && out_.bos_id >= 0;
    if (config_.add_dummy_prefix && out_.kind != TokenizerKind::kByteLevelBpe) {
      out_.add_dummy_prefix = *config_.add_dummy_prefix;
    }
  }

  const Json& json_;
  const TokenizerConfig& config_;
  Vocabulary out_;
  int64_t id_limit_ = 0;
  bool spaces_are_symbols_ = false, byte_level_ = false;
};

/// A special token as the configuration gives it: a text, or an object with one.
std::optional<std::string> token_text(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_object() && member(value, "content").is_string()) return text_of(value, "content");
  return std::nullopt;
}

}  // namespace

Result<TokenizerConfig> parse_tokenizer_config(std::string_view text) {
  RF_TRY(const Json json, parse_object(text));
  TokenizerConfig config;
  config.bos = token_text(member(json, "bos_token"));
  config.eos = token_text(member(json, "eos_token"));
  if (const Json& add = member(json, "add_bos_token"); add.is_boolean()) config.add_bos = add.get<bool>();
  const Json& chat = member(json, "chat_template");
  if (chat.is_string()) config.chat_template = chat.get<std::string>();
  if (!chat.is_array()) return config;
  for (const Json& named : chat) {
    if (text_of(named, "name") == "default") config.chat_template = text_of(named, "template");
  }
  return config;
}

Result<Vocabulary> parse_tokenizer_json(std::string_view text, const TokenizerConfig& config) {
  RF_TRY(const Json json, parse_object(text));
  RF_TRY(Vocabulary vocabulary, Reader(json, config).run());
  vocabulary.chat_template = config.chat_template;
  return vocabulary;
}

}  // namespace ringflash
