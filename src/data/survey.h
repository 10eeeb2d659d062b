// A first pass over the corpus: how much there is, which documents to hold out, and a sample for the
// tokenizer.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/hash.h"
#include "data/corpus.h"

namespace ringflash {

/// Which documents are held out: those that is_held_out() picks or, where it picks none, the one of the
/// smallest hash.
struct Split {
  double fraction = 0;
  std::optional<uint64_t> only;  ///< that hash

  bool held_out(std::string_view document) const {
    return only ? hash_bytes(document) == *only : is_held_out(document, fraction);
  }
};

struct Survey {
  int64_t documents = 0, text_bytes = 0;
  bool chats = false;   ///< whether there are conversations among them
  bool single = false;  ///< all documents are the same text, so that none can be held out
  Split split;
  std::vector<std::string> sample;  ///< training documents, evenly over the corpus
};

/// `sample_bytes`: about how much text to take for the sample (0: none). Shows a progress bar unless `quiet`.
Result<Survey> survey_corpus(const std::vector<CorpusFile>& files, double heldout_fraction,
                             uint64_t sample_bytes, bool quiet);

}  // namespace ringflash
