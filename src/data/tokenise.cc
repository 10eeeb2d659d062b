#include "data/tokenise.h"

#include "base/file.h"
#include "base/progress.h"
#include "base/thread_pool.h"
#include "data/token_dataset.h"

namespace ringflash {
namespace {

constexpr size_t kBatchBytes = 4 << 20;  // of text, tokenised at once

/// Collects documents and tokenises them a batch at a time.
class Batches {
 public:
  Batches(const Split& split, const Tokenizer& tokenizer, const TokenisedPaths& paths, int threads,
          AtomicFile& heldout_text)
      : split_(split),
        tokenizer_(tokenizer),
        train_(paths.directory, paths.train, tokenizer.size()),
        heldout_(paths.directory, paths.heldout, tokenizer.size()),
        pool_(threads),
        heldout_text_(heldout_text) {}

  Status add(std::string_view document) {
    documents_.emplace_back(document);
    bytes_ += document.size();
    return bytes_ >= kBatchBytes ? flush() : Status();
  }

  Status finish() {
    RF_TRY_VOID(flush());
    RF_TRY_VOID(train_.finish());
    RF_TRY_VOID(heldout_.finish());
    return heldout_text_.commit();
  }

 private:
  Status flush() {
    std::vector<std::vector<int32_t>> ids(documents_.size());
    pool_.for_each(std::ssize(documents_), [&](int64_t i) {
      const auto k = static_cast<size_t>(i);
      ids[k] = tokenizer_.encode_prompt(documents_[k], SpecialText::kPlain);
      ids[k].push_back(tokenizer_.vocabulary().eos_id);
    });
    for (size_t i = 0; i < documents_.size(); ++i) {
      const std::string& document = documents_[i];
      const bool held_out = split_.held_out(document);
      RF_TRY_VOID((held_out ? heldout_ : train_).add(ids[i], std::ssize(document)));
      if (!held_out) continue;
      RF_TRY_VOID(heldout_text_.write(document));
      if (!document.ends_with('\n')) RF_TRY_VOID(heldout_text_.write("\n"));
    }
    documents_.clear();
    bytes_ = 0;
    return {};
  }

  const Split& split_;
  const Tokenizer& tokenizer_;
  TokenDatasetWriter train_, heldout_;
  ThreadPool pool_;
  AtomicFile& heldout_text_;
  std::vector<std::string> documents_;
  size_t bytes_ = 0;
};

}  // namespace

Status tokenise_corpus(const std::vector<CorpusFile>& files, const Split& split, const Tokenizer& tokenizer,
                       const TokenisedPaths& paths, int threads, int64_t text_bytes, bool quiet) {
  RF_TRY(AtomicFile heldout_text, AtomicFile::create(paths.heldout_text));
  Batches batches(split, tokenizer, paths, threads, heldout_text);
  Progress progress("Tokenising", text_bytes, quiet);
  int64_t done = 0;
  RF_TRY_VOID(for_each_document(files, [&](std::string_view document) -> Status {
    done += std::ssize(document);
    progress.update(done);
    return batches.add(document);
  }));
  return batches.finish();
}

}  // namespace ringflash
