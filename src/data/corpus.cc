#include "data/corpus.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>
#include <system_error>

#include "base/file.h"
#include "base/hash.h"
#include "data/chat_document.h"

namespace ringflash {
namespace {

namespace fs = std::filesystem;

Result<CorpusFile> describe_file(const fs::path& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0)
    return Error{path.string() + ": cannot be read: " + std::strerror(errno)};
  return CorpusFile{path, static_cast<uint64_t>(info.st_size),
                    static_cast<int64_t>(info.st_mtim.tv_sec) * 1'000'000'000 + info.st_mtim.tv_nsec};
}

Error listing_error(const fs::path& path, const std::error_code& code) {
  return Error{path.string() + ": cannot be listed: " + code.message()};
}

Status add_directory(const fs::path& directory, std::vector<fs::path>& out) {
  std::error_code code;
  fs::recursive_directory_iterator entry(directory, code);
  for (; !code && entry != fs::recursive_directory_iterator(); entry.increment(code)) {
    if (entry->path().filename().native().starts_with('.')) {
      entry.disable_recursion_pending();
      continue;
    }
    std::error_code dangling;  // a link to nothing is no regular file either
    if (entry->is_regular_file(dangling)) out.push_back(entry->path());
  }
  if (code) return listing_error(directory, code);
  return {};
}

/// Where to cut `text`: behind the last line end within the limit, else before the character that crosses the
/// limit, else (no UTF-8) at the limit.
size_t piece_size(std::string_view text) {
  if (text.size() <= kMaxDocumentBytes) return text.size();
  const size_t line_end = text.rfind('\n', kMaxDocumentBytes - 1);
  if (line_end != text.npos) return line_end + 1;
  const auto continues = [&](size_t i) { return (static_cast<unsigned char>(text[i]) & 0xC0) == 0x80; };
  size_t cut = kMaxDocumentBytes;
  while (cut > kMaxDocumentBytes - 4 && continues(cut)) --cut;
  return continues(cut) ? kMaxDocumentBytes : cut;
}

using Visit = std::function<Status(const Document&)>;

Status visit_plain(std::string_view text, const Visit& visit) {
  while (!text.empty()) {
    const size_t size = piece_size(text);
    RF_TRY_VOID(visit({text.substr(0, size)}));
    text.remove_prefix(size);
  }
  return {};
}

/// One line of a .jsonl file.
Status visit_json(const nlohmann::json& json, const Visit& visit) {
  const auto member = [&](const char* key) { return json.is_object() ? json.find(key) : json.end(); };
  const auto text = member("text"), messages = member("messages");
  if (json.is_object() && messages != json.end()) {
    const std::string list = messages->dump();
    RF_TRY_VOID(parse_messages(list));
    return visit({list, /*chat=*/true});
  }
  if (!json.is_object() || text == json.end() || !text->is_string()) {
    return Error{"expected a JSON object with a string under \"text\", or a conversation under \"messages\""};
  }
  const auto& document = text->get_ref<const std::string&>();
  return document.empty() ? Status() : visit({document});
}

Status visit_jsonl(std::string_view text, const fs::path& path, const Visit& visit) {
  for (int64_t number = 1; !text.empty(); ++number) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.find_first_not_of(" \t\r") == line.npos) continue;
    const auto json = nlohmann::json::parse(line.begin(), line.end(), nullptr, /*allow_exceptions=*/false);
    const auto place = path.string() + ":" + std::to_string(number);
    if (json.is_discarded())
      return Error{place + ": expected a JSON object on this line, found no valid JSON"};
    if (const Status visited = visit_json(json, visit); !visited) return visited.error().in(place);
  }
  return {};
}

}  // namespace

Result<std::vector<CorpusFile>> list_corpus(const std::vector<fs::path>& paths) {
  std::vector<fs::path> found;
  for (const fs::path& path : paths) {
    std::error_code code;
    const fs::file_status status = fs::status(path, code);
    if (!fs::exists(status)) return Error{path.string() + ": no such file or directory"};
    if (fs::is_directory(status)) {
      RF_TRY_VOID(add_directory(path, found));
    } else if (fs::is_regular_file(status)) {
      found.push_back(path);
    } else {
      return Error{path.string() + ": expected a file or a directory"};
    }
  }
  std::sort(found.begin(), found.end());
  std::vector<CorpusFile> files;
  std::set<fs::path> seen;
  for (const fs::path& path : found) {
    std::error_code code;
    const fs::path canonical = fs::canonical(path, code);
    if (code) return listing_error(path, code);
    if (!seen.insert(canonical).second) continue;
    RF_TRY(CorpusFile file, describe_file(path));
    files.push_back(std::move(file));
  }
  if (files.empty()) {
    std::string places;
    for (const fs::path& path : paths) places += (places.empty() ? "" : ", ") + path.string();
    return Error{"no files in " + (places.empty() ? "an empty list of paths" : places)};
  }
  return files;
}

Status for_each_document(const std::vector<CorpusFile>& files, const Visit& visit) {
  for (const CorpusFile& file : files) {
    RF_TRY(const MappedFile mapped, MappedFile::open(file.path));
    const bool jsonl = file.path.extension() == ".jsonl";
    RF_TRY_VOID(jsonl ? visit_jsonl(mapped.text(), file.path, visit) : visit_plain(mapped.text(), visit));
  }
  return {};
}

bool is_held_out(std::string_view document, double fraction) {
  return static_cast<double>(hash_bytes(document) >> 11) * 0x1p-53 < fraction;
}

}  // namespace ringflash
