// Everything `train` does before the first step: list the corpus, split it, train or take a tokenizer,
// tokenise.
#pragma once

#include <filesystem>
#include <optional>
#include <vector>

#include "data/token_dataset.h"
#include "text/vocabulary.h"

namespace ringflash {

struct PrepareOptions {
  std::vector<std::filesystem::path> paths;
  std::filesystem::path directory;  ///< where tokens, the tokenizer's files and heldout.txt go
  int64_t vocab_size = 4096;
  int64_t sequence_length = 1024;  ///< only to refuse a corpus smaller than one sequence
  double heldout_fraction = 0.02;
  std::optional<std::filesystem::path> tokenizer;  ///< a directory with an existing one; none: one is trained
  int threads = 2;
  bool quiet = false;  ///< no progress bars
};

struct PreparedData {
  std::filesystem::path tokenizer;        ///< the directory, which holds a copy
  std::filesystem::path heldout_text;     ///< directory / "heldout.txt": held-out documents one by one
  Vocabulary vocabulary;  ///< other models' are made vocab_size long
  TokenDataset train, heldout;
  bool reused = false;  ///< nothing had changed since an earlier run
};

/// Work already done for the same files (paths, sizes, times), split, and tokenizer is reused: a fingerprint
/// of them is written last, to `directory`/data.json. If the fraction picks no document, the one of the
/// smallest hash is held out. Errors: empty corpus; a single document; training part smaller than one
/// sequence; too little text for the vocabulary.
Result<PreparedData> prepare_data(const PrepareOptions& options);

}  // namespace ringflash
