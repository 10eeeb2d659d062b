#include "data/survey.h"

#include <algorithm>
#include <limits>

#include "base/progress.h"
#include "data/chat_document.h"
#include "data/train_tokenizer.h"

namespace ringflash {

Result<Survey> survey_corpus(const std::vector<CorpusFile>& files, double heldout_fraction,
                             uint64_t sample_bytes, bool quiet) {
  uint64_t corpus_bytes = 0;
  for (const CorpusFile& file : files) corpus_bytes += file.bytes;
  Survey survey;
  survey.split.fraction = heldout_fraction;
  EvenSample sample(corpus_bytes, sample_bytes);
  uint64_t smallest = std::numeric_limits<uint64_t>::max(), largest = 0;
  bool any_held_out = false;
  Progress progress("Reading the text", static_cast<int64_t>(corpus_bytes), quiet);
  RF_TRY_VOID(for_each_document(files, [&](const Document& document) -> Status {
    ++survey.documents;
    survey.chats |= document.chat;
    survey.text_bytes += static_cast<int64_t>(document.text.size());
    progress.update(survey.text_bytes);
    const uint64_t hash = hash_bytes(document);
    smallest = std::min(smallest, hash);
    largest = std::max(largest, hash);
    if (is_held_out(document, heldout_fraction)) {
      any_held_out = true;
    } else if (sample.take(document.text.size())) {
      survey.sample.push_back(document.chat ? contents_of(document) : std::string(document.text));
    }
    return {};
  }));
  survey.single = smallest == largest;
  if (!any_held_out) {
    survey.split.only = smallest;
    std::erase_if(survey.sample,
                  [&](const std::string& document) { return survey.split.held_out(document); });
  }
  return survey;
}

}  // namespace ringflash
