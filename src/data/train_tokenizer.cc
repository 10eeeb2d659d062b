#include "data/train_tokenizer.h"

#include <algorithm>
#include <functional>
#include <unordered_map>
#include <unordered_set>

#include "base/subprocess.h"
#include "text/utf8.h"

namespace ringflash {
namespace {

// Longer ones are cut. The trainer counts positions within a word in 16 bits and dies of more.
constexpr size_t kMaxSentenceBytes = 8192;
constexpr int64_t kSpecialPieces = 3 + 256;
constexpr int64_t kMaxVocab = 1 << 20;
constexpr double kRareShare = 0.0005;

/// Whether a character may be part of a piece: not a control character, nor one that the trainer keeps for
/// itself (tab, U+2581, U+2585).
bool is_learnable(const Utf8Char& c) {
  return c.kind == Utf8Char::Kind::kValid && c.code >= 0x20 && c.code != 0x7F && c.code != kSpaceSymbolCode &&
         c.code != 0x2585;
}

/// Calls visit(character, where it begins) for all of `text`.
template <typename Visit>
void for_each_character(std::string_view text, Visit visit) {
  for (size_t at = 0; at < text.size();) {
    const Utf8Char c = first_utf8_char(text.substr(at));
    visit(c, at);
    at += c.size;
  }
}

using Alphabet = std::unordered_set<char32_t>;

/// The most frequent characters, until they cover all but kRareShare of the text or are `limit`. The others
/// are spelled in bytes instead of each taking a piece. (The trainer's own character_coverage knows no such
/// limit.)
Alphabet choose_alphabet(const std::vector<std::string_view>& texts, int64_t limit) {
  std::unordered_map<char32_t, uint64_t> counts;
  uint64_t total = 0;
  for (const std::string_view text : texts) {
    for_each_character(text, [&](const Utf8Char& c, size_t) {
      if (!is_learnable(c)) return;
      ++counts[c.code];
      ++total;
    });
  }
  std::vector<std::pair<uint64_t, char32_t>> ranked;
  for (const auto& [code, count] : counts) ranked.emplace_back(count, code);
  std::sort(ranked.begin(), ranked.end(), std::greater<>());
  Alphabet alphabet;
  uint64_t covered = 0;
  for (const auto& [count, code] : ranked) {
    const bool enough = static_cast<double>(total - covered) <= kRareShare * static_cast<double>(total);
    if (enough || std::ssize(alphabet) == limit) break;
    alphabet.insert(code);
    covered += count;
  }
  return alphabet;
}

/// Lines, cut also at characters outside the alphabet and at kMaxSentenceBytes, each followed by a newline.
std::string make_sentences(const std::vector<std::string_view>& texts, const Alphabet& alphabet) {
  std::string sentences;
  for (const std::string_view text : texts) {
    size_t begin = 0;
    const auto cut = [&](size_t end, size_t next) {
      if (end > begin) sentences.append(text.substr(begin, end - begin)) += '\n';
      begin = next;
    };
    for_each_character(text, [&](const Utf8Char& c, size_t at) {
      if (!is_learnable(c) || !alphabet.contains(c.code)) {
        cut(at, at + c.size);
      } else if (at + c.size - begin > kMaxSentenceBytes) {
        cut(at, at);
      }
    });
    cut(text.size(), text.size());
  }
  return sentences;
}

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
  std::vector<std::string_view> texts;
  for (const std::string& document : documents) {
    if (sample.take(document.size())) texts.push_back(document);
  }
  // At most half of the pieces are single characters, so that there are merges to learn.
  const int64_t limit = std::max<int64_t>(1, (options.vocab_size - kSpecialPieces) / 2);
  const std::string sentences = make_sentences(texts, choose_alphabet(texts, limit));
  if (sentences.empty()) return Error{"no UTF-8 text to train a tokenizer on"};
  RF_TRY(const std::filesystem::path program, sibling_program("ringflash-tokenizer"));
  RF_TRY(ProgramOutput result, run_program(program, {std::to_string(options.vocab_size)}, sentences));
  if (result.exit_code != 0) {
    const std::string ending = program.filename().string() + " ended with exit code " + std::to_string(result.exit_code);
    return explain(result.err.empty() ? ending : result.err, options.vocab_size);
  }
  return std::move(result.out);
}

}  // namespace ringflash
