#include "format/import_tokenizer.h"

#include <system_error>

#include "format/gguf.h"
#include "format/tokenizer_gguf.h"
#include "text/tokenizer.h"
#include "text/tokenizer_files.h"

namespace ringflash {
namespace {

/// Split patterns are compiled and merges looked up only when a tokenizer is made.
Status check_usable(const Vocabulary& vocabulary, const std::filesystem::path& source) {
  const Result<Tokenizer> tokenizer = Tokenizer::create(vocabulary);
  if (!tokenizer) return tokenizer.error().in(source.string());
  return {};
}

}  // namespace

Status import_tokenizer(const std::filesystem::path& source, const std::filesystem::path& out_directory) {
  std::error_code ignored;
  if (std::filesystem::is_directory(source, ignored)) {
    RF_TRY(const Vocabulary vocabulary, load_tokenizer(source));
    RF_TRY_VOID(check_usable(vocabulary, source));
    return copy_tokenizer(source, out_directory);
  }
  RF_TRY(const GgufFile file, GgufFile::open(source));
  RF_TRY(const Vocabulary vocabulary, read_vocabulary(file));
  RF_TRY_VOID(check_usable(vocabulary, source));
  return save_tokenizer(vocabulary, out_directory);
}

}  // namespace ringflash
