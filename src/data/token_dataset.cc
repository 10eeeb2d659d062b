#include "data/token_dataset.h"

#include <algorithm>
#include <bit>
#include <cstdio>
#include <cstring>
#include <system_error>

#include "base/hash.h"

namespace ringflash {
namespace {

namespace fs = std::filesystem;

static_assert(std::endian::native == std::endian::little,
              "shards are little-endian and are used as they lie");

constexpr char kMagic[8] = {'R', 'F', 'T', 'O', 'K', 'E', 'N', 'S'};
constexpr uint32_t kVersion = 1, kMaskedVersion = 2;
constexpr int64_t kMaxVocab16 = 1 << 16;

/// A shard is this header, then for each document the end of its ids (uint64, counted in ids from the shard's
/// first), then for each document its bytes of text (uint64), then the ids (uint16 or uint32). In version 2 a bit per
/// id follows, the first in the lowest bit: whether it is to be learned. In version 1 all are.
struct ShardHeader {
  char magic[8];
  uint32_t version;
  uint32_t bytes_per_id;  // 2 if vocab_size <= 65536, else 4
  uint64_t vocab_size;
  uint64_t documents;
  uint64_t tokens;
};
static_assert(sizeof(ShardHeader) == 40);

uint32_t bytes_per_id(int64_t vocab_size) {
  return vocab_size <= kMaxVocab16 ? 2 : 4;
}

fs::path shard_path(const fs::path& directory, const std::string& name, size_t index) {
  char number[32];
  std::snprintf(number, sizeof number, "-%05zu.bin", index);
  return directory / (name + number);
}

/// One mapped and validated file.
struct Shard {
  MappedFile file;
  ShardHeader header;
  std::span<const uint64_t> ends, sizes;
  const std::byte* ids;

  bool learned(uint64_t i) const {
    if (header.version == kVersion) return true;
    const std::byte* mask = ids + header.bytes_per_id * header.tokens;
    return (mask[i / 8] >> (i % 8) & std::byte{1}) != std::byte{0};
  }
  uint32_t id(uint64_t i) const {
    if (header.bytes_per_id == 2) return reinterpret_cast<const uint16_t*>(ids)[i];
    return reinterpret_cast<const uint32_t*>(ids)[i];
  }
  uint64_t begin(size_t document) const { return document == 0 ? 0 : ends[document - 1]; }
};

uint64_t mask_bytes(const ShardHeader& h) {
  return h.version == kMaskedVersion ? (h.tokens + 7) / 8 : 0;
}

Status check_header(const ShardHeader& h, uint64_t file_size) {
  if (std::memcmp(h.magic, kMagic, sizeof kMagic) != 0) return Error{"not a shard of tokens"};
  if (h.version != kVersion && h.version != kMaskedVersion) {
    return Error{"version " + std::to_string(h.version) + ", expected " + std::to_string(kVersion) + " or " +
                 std::to_string(kMaskedVersion)};
  }
  if (h.vocab_size == 0 || h.vocab_size > (1u << 30) ||
      h.bytes_per_id != bytes_per_id(static_cast<int64_t>(h.vocab_size))) {
    return Error{"a vocabulary of " + std::to_string(h.vocab_size) + " with " +
                 std::to_string(h.bytes_per_id) + " bytes per id"};
  }
  // The first two keep the sum from overflowing.
  const bool fits = h.documents <= file_size / 16 && h.tokens <= file_size / h.bytes_per_id &&
                    sizeof h + 16 * h.documents + h.bytes_per_id * h.tokens + mask_bytes(h) == file_size;
  if (!fits) {
    return Error{"truncated or damaged: " + std::to_string(file_size) + " bytes do not fit " +
                 std::to_string(h.documents) + " documents and " + std::to_string(h.tokens) + " tokens"};
  }
  return {};
}

Status check_content(const Shard& shard) {
  const ShardHeader& h = shard.header;
  uint64_t previous = 0;
  for (const uint64_t end : shard.ends) {
    if (end <= previous || end > h.tokens) return Error{"document ends out of order"};
    previous = end;
  }
  if (previous != h.tokens) return Error{"tokens behind the last document"};
  for (const uint64_t size : shard.sizes) {
    if (size > 1ull << 40) return Error{"a document of " + std::to_string(size) + " bytes"};
  }
  for (uint64_t i = 0; i < h.tokens; ++i) {
    if (shard.id(i) >= h.vocab_size) {
      return Error{"id " + std::to_string(shard.id(i)) + " at token " + std::to_string(i) +
                   ", expected ids below " + std::to_string(h.vocab_size)};
    }
  }
  return {};
}

Result<Shard> open_shard(const fs::path& path) {
  RF_TRY(MappedFile file, MappedFile::open(path));
  const auto bytes = file.bytes();
  ShardHeader header;
  if (bytes.size() < sizeof header) return Error{path.string() + ": truncated or damaged: no header"};
  std::memcpy(&header, bytes.data(), sizeof header);
  if (const Status status = check_header(header, bytes.size()); !status)
    return status.error().in(path.string());
  const auto* table = reinterpret_cast<const uint64_t*>(bytes.data() + sizeof header);
  const size_t documents = header.documents;
  const auto* ids = reinterpret_cast<const std::byte*>(table + 2 * documents);
  Shard shard{std::move(file), header, {table, documents}, {table + documents, documents}, ids};
  if (const Status status = check_content(shard); !status) return status.error().in(path.string());
  return shard;
}

}  // namespace

struct TokenDatasetWriter::State {
  fs::path directory;
  std::string name;
  int64_t vocab_size, shard_tokens;
  size_t shards = 0;
  bool finished = false;
  // Of the shard that is being filled.
  std::vector<uint64_t> ends, sizes;
  std::string ids;
  std::vector<bool> learned;

  uint64_t tokens() const { return ends.empty() ? 0 : ends.back(); }
  std::string mask() const;
  Status write_shard();
};

/// Nothing where all is learned.
std::string TokenDatasetWriter::State::mask() const {
  if (std::find(learned.begin(), learned.end(), false) == learned.end()) return "";
  std::string bits((learned.size() + 7) / 8, '\0');
  for (size_t i = 0; i < learned.size(); ++i) {
    if (learned[i]) bits[i / 8] = static_cast<char>(bits[i / 8] | 1 << i % 8);
  }
  return bits;
}

Status TokenDatasetWriter::State::write_shard() {
  const std::string bits = mask();
  ShardHeader header{{},
                     bits.empty() ? kVersion : kMaskedVersion,
                     bytes_per_id(vocab_size),
                     static_cast<uint64_t>(vocab_size),
                     ends.size(),
                     tokens()};
  std::memcpy(header.magic, kMagic, sizeof kMagic);
  RF_TRY(AtomicFile file, AtomicFile::create(shard_path(directory, name, shards)));
  RF_TRY_VOID(file.write(std::as_bytes(std::span(&header, 1))));
  RF_TRY_VOID(file.write(std::as_bytes(std::span(ends))));
  RF_TRY_VOID(file.write(std::as_bytes(std::span(sizes))));
  RF_TRY_VOID(file.write(ids));
  RF_TRY_VOID(file.write(bits));
  RF_TRY_VOID(file.commit());
  ++shards;
  ends.clear();
  sizes.clear();
  ids.clear();
  learned.clear();
  return {};
}

TokenDatasetWriter::TokenDatasetWriter(fs::path directory, std::string name, int64_t vocab_size,
                                       int64_t shard_tokens)
    : state_(
          new State{std::move(directory), std::move(name), vocab_size, shard_tokens, 0, false, {}, {}, {}, {}}) {
  RF_CHECK(vocab_size > 0 && shard_tokens > 0);
}

TokenDatasetWriter::~TokenDatasetWriter() = default;

Status TokenDatasetWriter::add(std::span<const int32_t> ids, int64_t text_bytes, const std::vector<bool>& learned) {
  State& s = *state_;
  RF_CHECK(!s.finished && !ids.empty() && text_bytes >= 0);
  RF_CHECK(learned.empty() || learned.size() == ids.size());
  if (!s.ends.empty() && s.tokens() + ids.size() > static_cast<uint64_t>(s.shard_tokens)) {
    RF_TRY_VOID(s.write_shard());
  }
  for (const int32_t id : ids) {
    RF_CHECK(id >= 0 && id < s.vocab_size);
    s.ids.append(reinterpret_cast<const char*>(&id), bytes_per_id(s.vocab_size));  // the low bytes come first
  }
  s.learned.insert(s.learned.end(), learned.begin(), learned.end());
  if (learned.empty()) s.learned.resize(s.learned.size() + ids.size(), true);
  s.ends.push_back(s.tokens() + ids.size());
  s.sizes.push_back(static_cast<uint64_t>(text_bytes));
  return {};
}

Status TokenDatasetWriter::finish() {
  State& s = *state_;
  RF_CHECK(!s.finished);
  if (!s.ends.empty() || s.shards == 0) RF_TRY_VOID(s.write_shard());
  // What an earlier, longer dataset of the same name left behind must not be taken for a part of this one.
  std::error_code code;
  for (size_t i = s.shards; fs::remove(shard_path(s.directory, s.name, i), code); ++i) {
  }
  if (code)
    return Error{shard_path(s.directory, s.name, s.shards).string() +
                 ": cannot be removed: " + code.message()};
  s.finished = true;
  return {};
}

struct TokenDataset::State {
  std::vector<Shard> shards;
  std::vector<int64_t> first_documents{0};  // of each shard, then the number of all
  int64_t tokens = 0, text_bytes = 0;

  struct Place {
    const Shard& shard;
    size_t document;  // within the shard
  };
  Place find(int64_t document) const {
    RF_CHECK(document >= 0 && document < first_documents.back());
    const auto after = std::upper_bound(first_documents.begin(), first_documents.end(), document);
    const auto shard = static_cast<size_t>(after - first_documents.begin()) - 1;
    return {shards[shard], static_cast<size_t>(document - first_documents[shard])};
  }
};

Result<TokenDataset> TokenDataset::open(const fs::path& directory, const std::string& name) {
  auto state = std::make_unique<State>();
  std::error_code code;
  for (size_t i = 0; i == 0 || fs::exists(shard_path(directory, name, i), code); ++i) {
    RF_TRY(Shard shard, open_shard(shard_path(directory, name, i)));
    if (i > 0 && shard.header.vocab_size != state->shards[0].header.vocab_size) {
      return Error{shard_path(directory, name, i).string() +
                   ": of another vocabulary size than the first shard"};
    }
    state->first_documents.push_back(state->first_documents.back() +
                                     static_cast<int64_t>(shard.header.documents));
    state->tokens += static_cast<int64_t>(shard.header.tokens);
    for (const uint64_t size : shard.sizes) state->text_bytes += static_cast<int64_t>(size);
    state->shards.push_back(std::move(shard));
  }
  return TokenDataset(std::move(state));
}

TokenDataset::TokenDataset(std::unique_ptr<State> state) : state_(std::move(state)) {}
TokenDataset::TokenDataset(TokenDataset&&) noexcept = default;
TokenDataset& TokenDataset::operator=(TokenDataset&&) noexcept = default;
TokenDataset::~TokenDataset() = default;

int64_t TokenDataset::documents() const {
  return state_->first_documents.back();
}
int64_t TokenDataset::tokens() const {
  return state_->tokens;
}
int64_t TokenDataset::text_bytes() const {
  return state_->text_bytes;
}

uint64_t TokenDataset::fingerprint() const {
  uint64_t hash = 0;
  std::vector<int32_t> ids;
  for (int64_t document = 0; document < documents(); ++document) {
    ids.resize(static_cast<size_t>(document_tokens(document)));
    read(document, 0, ids);
    const auto bytes = std::as_bytes(std::span(ids));
    hash = hash_bytes({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, hash);
    for (size_t i = 0; i < ids.size(); ++i) {
      if (!is_learned(document, static_cast<int64_t>(i))) hash = hash_bytes("x", hash ^ i);
    }
  }
  return hash;
}

int64_t TokenDataset::document_tokens(int64_t document) const {
  const auto [shard, i] = state_->find(document);
  return static_cast<int64_t>(shard.ends[i] - shard.begin(i));
}

void TokenDataset::read(int64_t document, int64_t first, std::span<int32_t> out) const {
  const auto [shard, i] = state_->find(document);
  const uint64_t begin = shard.begin(i) + static_cast<uint64_t>(first);
  RF_CHECK(first >= 0 && begin + out.size() <= shard.ends[i]);
  for (size_t k = 0; k < out.size(); ++k) out[k] = static_cast<int32_t>(shard.id(begin + k));
}

bool TokenDataset::is_learned(int64_t document, int64_t place) const {
  const auto [shard, i] = state_->find(document);
  RF_CHECK(place >= 0 && place < document_tokens(document));
  return shard.learned(shard.begin(i) + static_cast<uint64_t>(place));
}

}  // namespace ringflash
