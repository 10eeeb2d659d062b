#include "data/tokenise.h"

#include "base/file.h"
#include "base/progress.h"
#include "base/thread_pool.h"
#include "data/chat_document.h"
#include "data/token_dataset.h"

namespace ringflash {
namespace {

constexpr size_t kBatchBytes = 4 << 20;  // of text, tokenised at once

/// Collects documents and tokenises them a batch at a time.
class Batches {
 public:
  Batches(const Split& split, const Tokenizer& tokenizer, const ChatTemplate& chat_template,
          const TokenisedPaths& paths, int threads, AtomicFile& heldout_text)
      : split_(split),
        tokenizer_(tokenizer),
        chat_template_(chat_template),
        train_(paths.directory, paths.train, tokenizer.size()),
        heldout_(paths.directory, paths.heldout, tokenizer.size()),
        pool_(threads),
        heldout_text_(heldout_text) {}

  Status add(const Document& document) {
    documents_.push_back({std::string(document.text), document.chat});
    bytes_ += document.text.size();
    return bytes_ >= kBatchBytes ? flush() : Status();
  }

  Status finish() {
    RF_TRY_VOID(flush());
    RF_TRY_VOID(train_.finish());
    RF_TRY_VOID(heldout_.finish());
    return heldout_text_.commit();
  }

 private:
  /// A document waiting to be tokenised.
  struct Waiting {
    std::string text;
    bool chat;
  };

  Result<ChatTokens> tokenise(const Waiting& document) const {
    if (document.chat) return encode_chat(tokenizer_, chat_template_, document.text);
    ChatTokens tokens{tokenizer_.encode_prompt(document.text, SpecialText::kPlain), {}, document.text};
    tokens.ids.push_back(tokenizer_.vocabulary().eos_id);
    return tokens;  // all of it is learned
  }

  Status flush() {
    std::vector<Result<ChatTokens>> tokens(documents_.size(), ChatTokens());
    pool_.for_each(std::ssize(documents_), [&](int64_t i) {
      const auto k = static_cast<size_t>(i);
      tokens[k] = tokenise(documents_[k]);
    });
    for (size_t i = 0; i < documents_.size(); ++i) {
      RF_TRY(const ChatTokens document, std::move(tokens[i]));
      const bool held_out = split_.held_out(documents_[i].text);
      RF_TRY_VOID((held_out ? heldout_ : train_).add(document.ids, std::ssize(document.text), document.learned));
      if (!held_out) continue;
      RF_TRY_VOID(heldout_text_.write(document.text));
      if (!document.text.ends_with('\n')) RF_TRY_VOID(heldout_text_.write("\n"));
    }
    documents_.clear();
    bytes_ = 0;
    return {};
  }

  const Split& split_;
  const Tokenizer& tokenizer_;
  const ChatTemplate& chat_template_;
  TokenDatasetWriter train_, heldout_;
  ThreadPool pool_;
  AtomicFile& heldout_text_;
  std::vector<Waiting> documents_;
  size_t bytes_ = 0;
};

}  // namespace

Status tokenise_corpus(const std::vector<CorpusFile>& files, const Split& split, const Tokenizer& tokenizer,
                       const TokenisedPaths& paths, int threads, int64_t text_bytes, bool quiet) {
  RF_TRY(AtomicFile heldout_text, AtomicFile::create(paths.heldout_text));
  RF_TRY(const ChatTemplate chat_template, ChatTemplate::of(tokenizer.vocabulary()));
  Batches batches(split, tokenizer, chat_template, paths, threads, heldout_text);
  Progress progress("Tokenising", text_bytes, quiet);
  int64_t done = 0;
  RF_TRY_VOID(for_each_document(files, [&](const Document& document) -> Status {
    done += std::ssize(document.text);
    progress.update(done);
    return batches.add(document);
  }));
  return batches.finish();
}

}  // namespace ringflash
