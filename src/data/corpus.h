// The user's text as documents: which files, and which documents are held out.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace ringflash {

struct CorpusFile {
  std::filesystem::path path;
  uint64_t bytes = 0;
  int64_t modified = 0;  ///< nanoseconds since the epoch, for the fingerprint
};

/// Every regular file under the paths, directories recursively, hidden ones skipped, sorted by path and each
/// once. Errors: a path that does not exist; no file at all.
Result<std::vector<CorpusFile>> list_corpus(const std::vector<std::filesystem::path>& paths);

struct Document {
  std::string_view text;
  bool chat = false;  ///< the text is a list of messages, as chat_document.h has it

  operator std::string_view() const { return text; }
};

/// Calls `visit` for every document in order. A .jsonl file holds one document per line, a text under the key "text"
/// or a conversation under "messages"; any other file is one document, cut at line ends into pieces of at most kMaxDocumentBytes so that one big
/// file can be split too. Bytes are passed on as they are, UTF-8 or not; empty documents are skipped.
inline constexpr uint64_t kMaxDocumentBytes = 64 << 10;
Status for_each_document(const std::vector<CorpusFile>& files,
                         const std::function<Status(const Document& document)>& visit);

/// Whether a document belongs to the held-out part: by a hash of its content, so that the split survives
/// files being added, renamed or reordered, and a text that stands twice is never on both sides.
bool is_held_out(std::string_view document, double fraction);

}  // namespace ringflash
