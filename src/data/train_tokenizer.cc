#include "data/train_tokenizer.h"

#include <sentencepiece_trainer.h>

#include <algorithm>
#include <unordered_map>

#include "text/utf8.h"

namespace ringflash {
namespace {

// Longer ones are cut. The trainer counts positions within a word in 16 bits and dies of more.
constexpr size_t kMaxSentenceBytes = 8192;
constexpr int64_t kSpecialPieces = 3 + 256;
constexpr int64_t kMaxVocab = 1 << 20;

/// Characters that the trainer keeps for itself (tab, U+2581, U+2585), and control characters, never become
/// part of a piece: sentences end there.
bool ends_sentence(const Utf8Char& c) {
  return c.kind != Utf8Char::Kind::kValid || c.code < 0x20 || c.code == 0x7F || c.code == kSpaceSymbolCode ||
         c.code == 0x2585;
}

void append_sentences(std::string_view text, std::vector<std::string>& out) {
  size_t begin = 0;
  const auto cut = [&](size_t end) {
    if (end > begin) out.emplace_back(text.substr(begin, end - begin));
  };
  for (size_t at = 0; at < text.size();) {
    const Utf8Char c = first_utf8_char(text.substr(at));
    if (ends_sentence(c)) {
      cut(at);
      begin = at + c.size;
    } else if (at + c.size - begin > kMaxSentenceBytes) {
      cut(at);
      begin = at;
    }
    at += c.size;
  }
  cut(text.size());
}

class Sentences final : public sentencepiece::SentenceIterator {
 public:
  explicit Sentences(const std::vector<std::string>& sentences) : sentences_(sentences) {}
  bool done() const override { return next_ == sentences_.size(); }
  void Next() override { ++next_; }
  const std::string& value() const override { return sentences_[next_]; }
  sentencepiece::util::Status status() const override { return {}; }

 private:
  const std::vector<std::string>& sentences_;
  size_t next_ = 0;
};

/// The trainer's complaint about the vocabulary's size, in terms of our flag; others as they are.
Error explain(const std::string& message, int64_t vocab_size) {
  constexpr std::string_view kTooHigh = "Please set it to a value <= ";
  if (const size_t at = message.find(kTooHigh); at != message.npos) {
    const size_t end = message.find_first_not_of("0123456789", at + kTooHigh.size());
    const std::string limit = message.substr(at + kTooHigh.size(), end - at - kTooHigh.size());
    return Error{"too little text for a vocabulary of " + std::to_string(vocab_size) + " pieces: at most " +
                 limit + " can be learned from it (--set vocab_size=" + limit + ")"};
  }
  return Error{"the tokenizer cannot be trained with a vocabulary of " + std::to_string(vocab_size) +
               " pieces: " + message};
}

}  // namespace

bool EvenSample::take(uint64_t bytes) {
  seen_ += bytes;
  // In floating point: that the sample is a document more or less does not matter.
  const double due = static_cast<double>(seen_) * static_cast<double>(max_) / static_cast<double>(total_);
  if (total_ > max_ && static_cast<double>(taken_) >= due) return false;
  taken_ += bytes;
  return true;
}

Result<std::string> train_tokenizer(const std::vector<std::string>& documents,
                                    const TokenizerTraining& options) {
  if (options.vocab_size <= kSpecialPieces || options.vocab_size > kMaxVocab) {
    return Error{"vocab_size is " + std::to_string(options.vocab_size) + ", expected " +
                 std::to_string(kSpecialPieces + 1) + " to " + std::to_string(kMaxVocab)};
  }
  uint64_t total = 0;
  for (const std::string& document : documents) total += document.size();
  EvenSample sample(total, options.max_bytes);
  std::vector<std::string> sentences;
  for (const std::string& document : documents) {
    if (sample.take(document.size())) append_sentences(document, sentences);
  }
  if (sentences.empty()) return Error{"no UTF-8 text to train a tokenizer on"};
  Sentences iterator(sentences);
  // 0.9995: of scripts with many characters the rarest 0.05 % are spelled in bytes instead of each taking a
  // piece.
  const std::unordered_map<std::string, std::string> settings = {
      {"model_type", "bpe"},
      {"vocab_size", std::to_string(options.vocab_size)},
      {"byte_fallback", "true"},
      {"character_coverage", "0.9995"},
      {"normalization_rule_name", "identity"},
      {"add_dummy_prefix", "false"},
      {"remove_extra_whitespaces", "false"},
      {"split_digits", "true"},
      {"allow_whitespace_only_pieces", "true"},
      {"max_sentence_length", std::to_string(kMaxSentenceBytes)},
      {"unk_id", "0"},
      {"bos_id", "1"},
      {"eos_id", "2"},
      {"pad_id", "-1"},
      {"num_threads", std::to_string(std::max(1, options.threads))},
      {"minloglevel", "2"}};  // errors only; it is chatty on stderr
  std::string model;
  const auto status = sentencepiece::SentencePieceTrainer::Train(settings, &iterator, &model);
  if (!status.ok()) return explain(status.ToString(), options.vocab_size);
  return model;
}

}  // namespace ringflash
