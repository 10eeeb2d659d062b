// Tokenised documents on disk, mapped: shards of 16- or 32-bit ids and a table of where each document ends.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <vector>

#include "base/file.h"

namespace ringflash {

/// Writes NAME-00000.bin, NAME-00001.bin, ... of at most `shard_tokens` each (a longer document gets a shard
/// of its own), every file atomically; finish() removes shards that an earlier dataset of that name left.
/// Documents have at least one id. Memory: one shard.
class TokenDatasetWriter {
 public:
  TokenDatasetWriter(std::filesystem::path directory, std::string name, int64_t vocab_size,
                     int64_t shard_tokens = 64 << 20);
  ~TokenDatasetWriter();

  /// One document: its ids as they are to be trained on (BOS and EOS included), its size in bytes of text, and which
  /// ids are to be learned, one flag each (none: all).
  Status add(std::span<const int32_t> ids, int64_t text_bytes, const std::vector<bool>& learned = {});
  Status finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

class TokenDataset {
 public:
  /// Opens all shards of that name and validates them.
  static Result<TokenDataset> open(const std::filesystem::path& directory, const std::string& name);
  TokenDataset(TokenDataset&&) noexcept;
  TokenDataset& operator=(TokenDataset&&) noexcept;
  ~TokenDataset();

  int64_t documents() const;
  int64_t tokens() const;
  int64_t text_bytes() const;
  /// A hash of all documents' ids and of which are learned: the same text with the same tokenizer, wherever it lies.
  uint64_t fingerprint() const;
  int64_t document_tokens(int64_t document) const;
  /// Copies ids [first, first + out.size()) of a document.
  void read(int64_t document, int64_t first, std::span<int32_t> out) const;
  /// Whether the id at a place of a document is to be learned.
  bool is_learned(int64_t document, int64_t place) const;

 private:
  struct State;
  explicit TokenDataset(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace ringflash
