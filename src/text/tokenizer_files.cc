#include "text/tokenizer_files.h"

#include <array>
#include <nlohmann/json.hpp>
#include <system_error>

#include "base/file.h"
#include "text/sentencepiece_model.h"
#include "text/tokenizer_json.h"

namespace ringflash {
namespace {

namespace fs = std::filesystem;

constexpr const char* kJson = "tokenizer.json";
constexpr const char* kSentencePiece = "tokenizer.model";
constexpr const char* kConfig = "tokenizer_config.json";
constexpr const char* kTemplate = "chat_template.jinja";
constexpr std::array kFiles = {kJson, kSentencePiece, kConfig, kTemplate};

bool is_there(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

Result<TokenizerConfig> load_config(const fs::path& directory) {
  TokenizerConfig config;
  if (is_there(directory / kConfig)) {
    RF_TRY(const std::string text, read_file(directory / kConfig));
    Result<TokenizerConfig> parsed = parse_tokenizer_config(text);
    if (!parsed) return parsed.error().in((directory / kConfig).string());
    config = std::move(parsed).value();
  }
  if (is_there(directory / kTemplate)) {
    RF_TRY(config.chat_template, read_file(directory / kTemplate));
  }
  return config;
}

/// An id that config.json gives, alone or as the first of several; -1 where there is none that is a special
/// piece.
int32_t model_config_id(const nlohmann::json& config, const char* key, const Vocabulary& vocabulary) {
  const auto found = config.find(key);
  if (found == config.end()) return -1;
  const nlohmann::json& value = found->is_array() && !found->empty() ? found->front() : *found;
  const int64_t id = value.is_number_integer() ? value.get<int64_t>() : -1;
  if (id < 0 || id >= std::ssize(vocabulary.pieces)) return -1;
  const PieceType type = vocabulary.pieces[static_cast<size_t>(id)].type;
  return type == PieceType::kControl || type == PieceType::kUserDefined ? static_cast<int32_t>(id) : -1;
}

Status complete_ends(Vocabulary& vocabulary, const fs::path& model_config) {
  if ((vocabulary.bos_id >= 0 && vocabulary.eos_id >= 0) || !is_there(model_config)) return {};
  RF_TRY(const std::string text, read_file(model_config));
  const auto json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return {};  // whoever needs the model's config reports that
  if (vocabulary.bos_id < 0) vocabulary.bos_id = model_config_id(json, "bos_token_id", vocabulary);
  if (vocabulary.eos_id < 0) vocabulary.eos_id = model_config_id(json, "eos_token_id", vocabulary);
  return {};
}

Result<Vocabulary> load_json(const fs::path& directory, const TokenizerConfig& config) {
  RF_TRY(const MappedFile file, MappedFile::open(directory / kJson));
  Result<Vocabulary> vocabulary = parse_tokenizer_json(file.text(), config);
  if (!vocabulary) return vocabulary.error().in((directory / kJson).string());
  RF_TRY_VOID(complete_ends(vocabulary.value(), directory / "config.json"));
  if (vocabulary->bos_id < 0)
    vocabulary->bos_id = vocabulary->eos_id;  // as a separator of documents; no text starts so
  if (vocabulary->eos_id >= 0) return vocabulary;
  return Error{(directory / kJson).string() +
               ": neither tokenizer_config.json nor config.json names its EOS token"};
}

}  // namespace

Result<Vocabulary> load_tokenizer(const fs::path& directory) {
  RF_TRY(TokenizerConfig config, load_config(directory));
  if (is_there(directory / kJson)) return load_json(directory, config);
  if (!is_there(directory / kSentencePiece)) {
    return Error{directory.string() + ": expected tokenizer.json or tokenizer.model, found neither"};
  }
  RF_TRY(const MappedFile file, MappedFile::open(directory / kSentencePiece));
  Result<Vocabulary> vocabulary = parse_sentencepiece_model(file.text());
  if (!vocabulary) return vocabulary.error().in((directory / kSentencePiece).string());
  if (config.add_bos) vocabulary->add_bos = *config.add_bos && vocabulary->bos_id >= 0;
  vocabulary->chat_template = std::move(config.chat_template);
  return vocabulary;
}

bool has_sentencepiece_model(const fs::path& directory) {
  return !is_there(directory / kJson) && is_there(directory / kSentencePiece);
}

Status save_tokenizer(const Vocabulary& vocabulary, const fs::path& directory) {
  RF_TRY_VOID(write_file(directory / kJson, to_tokenizer_json(vocabulary)));
  return write_file(directory / kConfig, to_tokenizer_config(vocabulary));
}

Status add_chat_template(const fs::path& directory, std::string_view chat_template) {
  return write_file(directory / kTemplate, chat_template);
}

Status copy_tokenizer(const fs::path& from, const fs::path& to) {
  for (const char* name : kFiles) {
    std::error_code error;
    if (is_there(from / name)) {
      RF_TRY(const std::string content, read_file(from / name));
      RF_TRY_VOID(write_file(to / name, content));
    } else if (fs::remove(to / name, error); error) {
      return Error{(to / name).string() + ": cannot be removed: " + error.message()};
    }
  }
  return {};
}

Result<std::string> tokenizer_content(const fs::path& directory) {
  std::string all;
  for (const char* name : kFiles) {
    if (!is_there(directory / name)) continue;
    RF_TRY(const std::string content, read_file(directory / name));
    all += name + ('\0' + std::to_string(content.size())) + '\0' + content;
  }
  return all;
}

}  // namespace ringflash
