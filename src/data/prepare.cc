#include "data/prepare.h"

#include <cinttypes>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <system_error>

#include "base/hash.h"
#include "data/corpus.h"
#include "data/survey.h"
#include "data/tokenise.h"
#include "data/train_tokenizer.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"
#include "text/tokenizer_files.h"

namespace ringflash {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr int kFormatVersion = 1;
constexpr const char* kTrain = "train";
constexpr const char* kHeldout = "heldout";
/// How Hugging Face's tokenizers are to use tokenizer.model.
constexpr const char* kTokenizerConfig = R"({
  "tokenizer_class": "LlamaTokenizer",
  "add_bos_token": true,
  "add_eos_token": false,
  "add_prefix_space": false,
  "legacy": false
}
)";

std::string hash_text(std::string_view bytes) {
  char text[17];
  std::snprintf(text, sizeof text, "%016" PRIx64, hash_bytes(bytes));
  return text;
}

/// The fingerprint of everything that the prepared files depend on.
Json make_fingerprint(const PrepareOptions& options, const std::vector<CorpusFile>& files,
                      const std::optional<std::string>& tokenizer) {
  std::string list;
  for (const CorpusFile& file : files) {
    list +=
        file.path.string() + '\0' + std::to_string(file.bytes) + ' ' + std::to_string(file.modified) + '\n';
  }
  return {{"format_version", kFormatVersion},
          {"files", hash_text(list)},
          {"heldout_fraction", options.heldout_fraction},
          {"tokenizer", tokenizer ? hash_text(*tokenizer) : "trained"},
          {"vocab_size", tokenizer ? 0 : options.vocab_size}};
}

fs::path manifest_path(const fs::path& directory) {
  return directory / "data.json";
}

/// The one that is given, or was trained. Our own fit the model exactly, which the trainer checks.
Result<Vocabulary> load_vocabulary(const PrepareOptions& options) {
  const fs::path& directory = options.tokenizer ? *options.tokenizer : options.directory;
  RF_TRY(Vocabulary vocabulary, load_tokenizer(directory));
  if (!has_sentencepiece_model(directory)) RF_TRY_VOID(resize_vocabulary(vocabulary, options.vocab_size));
  return vocabulary;
}

Result<PreparedData> open_prepared(const PrepareOptions& options) {
  const fs::path& directory = options.directory;
  const fs::path heldout_text = directory / "heldout.txt";
  RF_TRY(Vocabulary vocabulary, load_vocabulary(options));
  RF_TRY(TokenDataset train, TokenDataset::open(directory, kTrain));
  RF_TRY(TokenDataset heldout, TokenDataset::open(directory, kHeldout));
  return PreparedData{directory, heldout_text, std::move(vocabulary), std::move(train), std::move(heldout), false};
}

/// What the fingerprint led to: by this a file that is missing, cut or foreign is noticed.
Result<Json> describe_results(const PreparedData& data) {
  RF_TRY(const std::string tokenizer, tokenizer_content(data.tokenizer));
  RF_TRY(const MappedFile heldout_text, MappedFile::open(data.heldout_text));
  return Json{{"tokenizer", hash_text(tokenizer)},
              {"train_tokens", data.train.tokens()},
              {"heldout_tokens", data.heldout.tokens()},
              {"heldout_bytes", heldout_text.bytes().size()}};
}

/// Whether an earlier run prepared what is wanted now. A tokenizer that is given may also be the one that the earlier
/// run trained: so it is when a training run is resumed with its checkpoint's.
bool same_work(const Json& manifest, const Json& fingerprint) {
  Json earlier = manifest.value("fingerprint", Json()), wanted = fingerprint;
  if (earlier == wanted) return true;
  const Json results = manifest.value("results", Json());
  if (!earlier.is_object() || !results.is_object()) return false;
  if (results.value("tokenizer", Json()) != wanted["tokenizer"]) return false;
  for (const char* key : {"tokenizer", "vocab_size"}) {
    earlier.erase(key);
    wanted.erase(key);
  }
  return earlier == wanted;
}

/// The data of an earlier run, if its manifest and files are whole and are what is wanted now.
std::optional<PreparedData> find_earlier(const PrepareOptions& options, const Json& fingerprint) {
  const auto text = read_file(manifest_path(options.directory));
  if (!text) return std::nullopt;
  const Json manifest = Json::parse(*text, nullptr, /*allow_exceptions=*/false);
  if (!manifest.is_object() || !same_work(manifest, fingerprint)) return std::nullopt;
  auto data = open_prepared(options);
  if (!data) return std::nullopt;
  const auto results = describe_results(*data);
  if (!results || manifest.value("results", Json()) != *results) return std::nullopt;
  data->reused = true;
  return std::move(data).value();
}

Error too_small(const std::string& tokens, int64_t sequence_length) {
  return Error{"too little text: the training part has " + tokens + " tokens, expected at least " +
               std::to_string(sequence_length) + ", one sequence"};
}

Status check_survey(const Survey& survey, const PrepareOptions& options) {
  if (survey.documents == 0) {
    std::string places;
    for (const fs::path& path : options.paths) places += (places.empty() ? "" : ", ") + path.string();
    return Error{"no text in " + places};
  }
  // A token stands for a byte at least; told before a tokenizer is trained on what cannot do.
  const int64_t most_tokens = survey.text_bytes + 2 * survey.documents;
  if (most_tokens < options.sequence_length) {
    return too_small("at most " + std::to_string(most_tokens), options.sequence_length);
  }
  if (survey.single) {
    return Error{
        "the text is a single document: expected at least two different ones, so that one can be held out (a "
        "file is cut into documents of " +
        std::to_string(kMaxDocumentBytes >> 10) + " KiB)"};
  }
  return {};
}

/// Trains tokenizer.model on the sample.
Status make_tokenizer(const Survey& survey, const PrepareOptions& options) {
  uint64_t bytes = 0;
  for (const std::string& document : survey.sample) bytes += document.size();
  if (!options.quiet) {
    std::fprintf(stderr, "Training a tokenizer of %" PRId64 " pieces on %.1f MB of the text ...\n",
                 options.vocab_size, static_cast<double>(bytes) * 1e-6);
  }
  TokenizerTraining training;
  training.vocab_size = options.vocab_size;
  RF_TRY(const std::string model, train_tokenizer(survey.sample, training));
  RF_TRY_VOID(write_file(options.directory / "tokenizer.model", model));
  return write_file(options.directory / "tokenizer_config.json", kTokenizerConfig);
}

Status prepare_anew(const PrepareOptions& options, const std::vector<CorpusFile>& files) {
  const uint64_t sample_bytes = options.tokenizer ? 0 : TokenizerTraining().max_bytes;
  RF_TRY(const Survey survey, survey_corpus(files, options.heldout_fraction, sample_bytes, options.quiet));
  RF_TRY_VOID(check_survey(survey, options));
  RF_TRY_VOID(options.tokenizer ? copy_tokenizer(*options.tokenizer, options.directory)
                                : make_tokenizer(survey, options));
  RF_TRY(Vocabulary vocabulary, load_vocabulary(options));
  if (survey.chats && vocabulary.chat_template.empty()) {
    RF_TRY_VOID(add_chat_template(options.directory, kDefaultChatTemplate));
  }
  RF_TRY(const Tokenizer encoder, Tokenizer::create(std::move(vocabulary)));
  const TokenisedPaths paths{options.directory, kTrain, kHeldout, options.directory / "heldout.txt"};
  return tokenise_corpus(files, survey.split, encoder, paths, options.threads, survey.text_bytes,
                         options.quiet);
}

}  // namespace

Result<PreparedData> prepare_data(const PrepareOptions& options) {
  if (!(options.heldout_fraction >= 0 && options.heldout_fraction < 1)) {
    return Error{"heldout_fraction is " + std::to_string(options.heldout_fraction) +
                 ", expected 0 to 1 (1 excluded)"};
  }
  RF_CHECK(options.sequence_length > 0 && options.threads > 0);
  RF_TRY(const std::vector<CorpusFile> files, list_corpus(options.paths));
  std::optional<std::string> tokenizer;
  if (options.tokenizer) {
    RF_TRY(tokenizer, tokenizer_content(*options.tokenizer));
  }
  const Json fingerprint = make_fingerprint(options, files, tokenizer);
  auto data = find_earlier(options, fingerprint);
  if (!data) {
    std::error_code code;
    fs::create_directories(options.directory, code);
    if (!code) fs::remove(manifest_path(options.directory), code);
    if (code) return Error{options.directory.string() + ": cannot be written: " + code.message()};
    RF_TRY_VOID(prepare_anew(options, files));
    RF_TRY(data, open_prepared(options));
    RF_TRY(const Json results, describe_results(*data));
    const Json manifest = {{"fingerprint", fingerprint}, {"results", results}};
    RF_TRY_VOID(write_file(manifest_path(options.directory), manifest.dump(2) + "\n"));
  }
  if (data->train.tokens() < options.sequence_length) {
    return too_small(std::to_string(data->train.tokens()), options.sequence_length);
  }
  return std::move(*data);
}

}  // namespace ringflash
