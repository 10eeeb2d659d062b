// The second pass over the corpus: documents to ids, on several threads, in the corpus's order.
#pragma once

#include <filesystem>
#include <vector>

#include "data/corpus.h"
#include "data/survey.h"
#include "text/tokenizer.h"

namespace ringflash {

struct TokenisedPaths {
  std::filesystem::path directory;  ///< of the shards
  std::string train, heldout;       ///< names of the two datasets
  std::filesystem::path
      heldout_text;  ///< a file for the held-out documents, one after another, each ending its line
};

/// Writes both datasets and the held-out text. Every document becomes BOS (where the tokenizer's texts
/// start with it), its ids, EOS; a conversation what the
/// vocabulary's chat template makes of it.
/// `text_bytes`: of the whole corpus, for the progress bar, which is shown unless `quiet`.
Status tokenise_corpus(const std::vector<CorpusFile>& files, const Split& split, const Tokenizer& tokenizer,
                       const TokenisedPaths& paths, int threads, int64_t text_bytes, bool quiet);

}  // namespace ringflash
