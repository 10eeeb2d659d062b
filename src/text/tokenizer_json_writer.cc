#include <algorithm>
#include <nlohmann/json.hpp>
#include <unordered_map>

#include "text/tokenizer_json.h"
#include "text/utf8.h"

namespace ringflash {
namespace {

using Json = nlohmann::ordered_json;

const std::string kSpace(kSpaceSymbol);

bool is_added(PieceType type) {
  return type == PieceType::kControl || type == PieceType::kUserDefined || type == PieceType::kUnknown;
}

Json sequence(const char* list, Json steps) {
  return {{"type", "Sequence"}, {list, std::move(steps)}};
}

Json added_tokens(const Vocabulary& v) {
  Json added = Json::array();
  for (size_t id = 0; id < v.pieces.size(); ++id) {
    const Piece& piece = v.pieces[id];
    if (!is_added(piece.type)) continue;
    const bool special = piece.type != PieceType::kUserDefined;
    // Those of sentencepiece models are looked for where spaces are U+2581 already.
    const bool normalized = !special && v.kind != TokenizerKind::kByteLevelBpe;
    added.push_back({{"id", id},
                     {"content", piece.text},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", normalized},
                     {"special", special}});
  }
  return added;
}

Json normalizer(const Vocabulary& v) {
  Json steps = Json::array();
  if (v.composes) steps.push_back({{"type", "NFC"}});
  if (v.kind == TokenizerKind::kByteLevelBpe) return v.composes ? steps[0] : nullptr;
  if (v.add_dummy_prefix) steps.push_back({{"type", "Prepend"}, {"prepend", kSpace}});
  steps.push_back({{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", kSpace}});
  return sequence("normalizers", std::move(steps));
}

Json byte_level() {
  return {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", false}};
}

Json pre_tokenizer(const Vocabulary& v) {
  if (v.kind != TokenizerKind::kByteLevelBpe) return nullptr;
  Json steps = Json::array();
  for (const std::string& pattern : v.split_patterns) {
    steps.push_back(
        {{"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", "Isolated"}, {"invert", false}});
  }
  steps.push_back(byte_level());
  return sequence("pretokenizers", std::move(steps));
}

Json post_processor(const Vocabulary& v) {
  if (!v.add_bos) return nullptr;
  const std::string& bos = v.pieces[static_cast<size_t>(v.bos_id)].text;
  const Json first = {{"SpecialToken", {{"id", bos}, {"type_id", 0}}}};
  const auto text = [](const char* id, int type) {
    return Json{{"Sequence", {{"id", id}, {"type_id", type}}}};
  };
  return {{"type", "TemplateProcessing"},
          {"single", Json::array({first, text("A", 0)})},
          {"pair", Json::array({first, text("A", 0), text("B", 1)})},
          {"special_tokens",
           {{bos, {{"id", bos}, {"ids", Json::array({v.bos_id})}, {"tokens", Json::array({bos})}}}}}};
}

Json decoder(const Vocabulary& v) {
  if (v.kind == TokenizerKind::kByteLevelBpe) return byte_level();
  Json steps = Json::array({{{"type", "Replace"}, {"pattern", {{"String", kSpace}}}, {"content", " "}},
                            {{"type", "ByteFallback"}},
                            {{"type", "Fuse"}}});
  if (v.add_dummy_prefix) steps.push_back({{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
  return sequence("decoders", std::move(steps));
}

/// The merges of a sentencepiece model: all ways to put a piece together from two, in the order of the
/// pieces' scores.
Json merges_by_score(const Vocabulary& v) {
  std::unordered_map<std::string_view, size_t> ids;
  std::vector<size_t> order;
  for (size_t id = 0; id < v.pieces.size(); ++id) {
    if (v.pieces[id].type != PieceType::kNormal) continue;
    ids.emplace(v.pieces[id].text, id);
    order.push_back(id);
  }
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return v.pieces[a].score > v.pieces[b].score; });
  Json merges = Json::array();
  for (const size_t id : order) {
    const std::string_view text = v.pieces[id].text;
    for (size_t cut = first_utf8_char(text).size; cut < text.size();
         cut += first_utf8_char(text.substr(cut)).size) {
      const std::string_view left = text.substr(0, cut), right = text.substr(cut);
      if (ids.contains(left) && ids.contains(right)) merges.push_back({left, right});
    }
  }
  return merges;
}

bool has_bytes(const Vocabulary& v) {
  return std::any_of(v.pieces.begin(), v.pieces.end(),
                     [](const Piece& p) { return p.type == PieceType::kByte; });
}

Json unigram_model(const Vocabulary& v) {
  Json vocab = Json::array();
  for (const Piece& piece : v.pieces) vocab.push_back({piece.text, piece.score});
  return {{"type", "Unigram"},
          {"unk_id", v.unk_id < 0 ? Json() : Json(v.unk_id)},
          {"vocab", std::move(vocab)},
          {"byte_fallback", has_bytes(v)}};
}

Json bpe_model(const Vocabulary& v) {
  const bool byte_level = v.kind == TokenizerKind::kByteLevelBpe;
  Json vocab = Json::object(), merges = byte_level ? Json::array() : merges_by_score(v);
  auto& entries = vocab.get_ref<Json::object_t&>();
  for (size_t id = 0; id < v.pieces.size(); ++id) {
    entries.push_back(
        {v.pieces[id].text, id});  // texts are distinct; the object's own insertion would search for each
  }
  for (const auto& [left, right] : v.merges) merges.push_back({left, right});
  const bool has_unk = v.unk_id >= 0;
  return {{"type", "BPE"},
          {"dropout", nullptr},
          {"unk_token", has_unk ? Json(v.pieces[static_cast<size_t>(v.unk_id)].text) : Json()},
          {"continuing_subword_prefix", nullptr},
          {"end_of_word_suffix", nullptr},
          {"fuse_unk", !byte_level},
          {"byte_fallback", has_bytes(v)},
          {"ignore_merges", v.whole_words_first},
          {"vocab", std::move(vocab)},
          {"merges", std::move(merges)}};
}

}  // namespace

std::string to_tokenizer_json(const Vocabulary& v) {
  const Json json = {{"version", "1.0"},
                     {"truncation", nullptr},
                     {"padding", nullptr},
                     {"added_tokens", added_tokens(v)},
                     {"normalizer", normalizer(v)},
                     {"pre_tokenizer", pre_tokenizer(v)},
                     {"post_processor", post_processor(v)},
                     {"decoder", decoder(v)},
                     {"model", v.kind == TokenizerKind::kUnigram ? unigram_model(v) : bpe_model(v)}};
  return json.dump(1) + "\n";
}

std::string to_tokenizer_config(const Vocabulary& v) {
  Json json = {{"tokenizer_class", "PreTrainedTokenizerFast"},
               {"add_bos_token", v.add_bos},
               {"add_eos_token", false},
               {"clean_up_tokenization_spaces", false}};
  const std::pair<const char*, int32_t> specials[] = {
      {"bos_token", v.bos_id}, {"eos_token", v.eos_id}, {"unk_token", v.unk_id}};
  for (const auto& [key, id] : specials) {
    if (id >= 0) json[key] = v.pieces[static_cast<size_t>(id)].text;
  }
  if (!v.chat_template.empty()) json["chat_template"] = v.chat_template;
  return json.dump(2) + "\n";
}

}  // namespace ringflash
