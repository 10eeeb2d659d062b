// A dataset of made-up ids on disk, and the ids themselves to compare with.
#pragma once

#include <fstream>
#include <string_view>
#include <vector>

#include "base/rng.h"
#include "data/token_dataset.h"
#include "temporary_directory.h"

namespace ringflash::testing {

using Documents = std::vector<std::vector<int32_t>>;

/// `count` documents of 1 to `longest` ids below `vocab_size`.
inline Documents random_documents(uint64_t seed, int64_t count, uint64_t longest, int64_t vocab_size) {
  Rng rng(seed);
  Documents documents(static_cast<size_t>(count));
  for (auto& ids : documents) {
    ids.resize(1 + rng.below(longest));
    for (int32_t& id : ids) id = static_cast<int32_t>(rng.below(static_cast<uint64_t>(vocab_size)));
  }
  return documents;
}

/// Writes them under the name "d", each said to be 3 bytes of text per id.
inline Status write_documents(const std::filesystem::path& directory, const Documents& documents,
                              int64_t vocab_size, int64_t shard_tokens = 1 << 20) {
  TokenDatasetWriter writer(directory, "d", vocab_size, shard_tokens);
  for (const auto& ids : documents) RF_TRY_VOID(writer.add(ids, 3 * std::ssize(ids)));
  return writer.finish();
}

/// Without waiting for the disk, for tests that do it thousands of times.
inline void overwrite(const std::filesystem::path& path, std::string_view bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

inline std::vector<int32_t> read_document(const TokenDataset& dataset, int64_t document) {
  std::vector<int32_t> ids(static_cast<size_t>(dataset.document_tokens(document)));
  dataset.read(document, 0, ids);
  return ids;
}

}  // namespace ringflash::testing
