// The tokenizer's files in a checkpoint directory, whichever form they have.
#pragma once

#include <filesystem>
#include <string>

#include "text/vocabulary.h"

namespace ringflash {

/// tokenizer.json if it is there, else tokenizer.model (sentencepiece); with what tokenizer_config.json and
/// chat_template.jinja add. Of tokenizer.json, EOS and BOS that these do not name are config.json's, or
/// BOS is EOS. Errors name the file.
Result<Vocabulary> load_tokenizer(const std::filesystem::path& directory);

/// Whether the directory's tokenizer is sentencepiece's tokenizer.model.
bool has_sentencepiece_model(const std::filesystem::path& directory);

/// Writes tokenizer.json and tokenizer_config.json.
Status save_tokenizer(const Vocabulary& vocabulary, const std::filesystem::path& directory);

/// Writes chat_template.jinja, which load_tokenizer() takes before what tokenizer_config.json says.
Status add_chat_template(const std::filesystem::path& directory, std::string_view chat_template);

/// Copies the files as they are; those of a tokenizer that was there before and that this one lacks are
/// removed.
Status copy_tokenizer(const std::filesystem::path& from, const std::filesystem::path& to);

/// The content of all of them, to tell one tokenizer from another.
Result<std::string> tokenizer_content(const std::filesystem::path& directory);

}  // namespace ringflash
