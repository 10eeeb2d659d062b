#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>

#include "base/in_quotes.h"
#include "text/splitter.h"
#include "text/utf8.h"

namespace ringflash {
namespace {

constexpr size_t kMaxPatternBytes = 1 << 16;
// Far above what the patterns of real models need for megabytes of text, and a second's work at most.
constexpr uint32_t kMatchLimit = 20'000'000;
constexpr uint32_t kHeapLimitKib = 1 << 18;

template <auto kFree>
struct Deleter {
  template <typename T>
  void operator()(T* object) const {
    kFree(object);
  }
};
using Code = std::unique_ptr<pcre2_code, Deleter<pcre2_code_free_8>>;
using MatchData = std::unique_ptr<pcre2_match_data, Deleter<pcre2_match_data_free_8>>;
using MatchContext = std::unique_ptr<pcre2_match_context, Deleter<pcre2_match_context_free_8>>;

PCRE2_SPTR as_units(std::string_view text) {
  return reinterpret_cast<PCRE2_SPTR>(text.data());
}

/// PCRE2's own \s has U+180E, which Unicode took out of White_Space; the property has it right.
std::string with_unicode_spaces(std::string_view pattern) {
  std::string out;
  for (size_t i = 0; i < pattern.size(); ++i) {
    const char next = pattern[i] == '\\' && i + 1 < pattern.size() ? pattern[i + 1] : '\0';
    if (next == 's' || next == 'S') {
      out += next == 's' ? "\\p{White_Space}" : "\\P{White_Space}";
    } else {
      out += pattern.substr(i, next == '\0' ? 1 : 2);
    }
    i += next != '\0';
  }
  return out;
}

Result<Code> compile(const std::string& pattern) {
  if (pattern.size() > kMaxPatternBytes) {
    return Error{"a split pattern of " + std::to_string(pattern.size()) + " bytes, expected at most " +
                 std::to_string(kMaxPatternBytes)};
  }
  const std::string source = with_unicode_spaces(pattern);
  int error = 0;
  size_t place = 0;
  Code code(pcre2_compile(as_units(source), source.size(), PCRE2_UTF | PCRE2_UCP, &error, &place, nullptr));
  if (!code) {
    char message[256] = "";
    pcre2_get_error_message(error, reinterpret_cast<PCRE2_UCHAR*>(message), sizeof message);
    return Error{"the split pattern " + in_quotes(pattern) + " is not understood: " + message};
  }
  pcre2_jit_compile(code.get(), PCRE2_JIT_COMPLETE);  // without it matching is slower, not different
  return code;
}

/// The start of what is no UTF-8, or the text's end.
size_t valid_prefix(std::string_view text) {
  size_t end = 0;
  while (end < text.size()) {
    const Utf8Char c = first_utf8_char(text.substr(end));
    if (c.kind != Utf8Char::Kind::kValid) break;
    end += c.size;
  }
  return end;
}

/// One pattern over one part.
class Cutter {
 public:
  Cutter(const pcre2_code* code, pcre2_match_context* context, std::vector<std::string_view>& out)
      : code_(code), context_(context), match_(pcre2_match_data_create(1, nullptr)), out_(out) {
    RF_CHECK(match_ != nullptr);
  }

  /// `text` is valid UTF-8.
  void cut(std::string_view text) {
    size_t begin = 0, from = 0;
    while (from < text.size() && find(text, from)) {
      const size_t* span = pcre2_get_ovector_pointer(match_.get());
      push(text, begin, span[0]);
      push(text, span[0], span[1]);
      begin = std::max(span[0], span[1]);
      from = span[1] > span[0] ? span[1] : begin;
      // A match of nothing cuts, and the search goes on behind the next character.
      if (span[1] <= span[0] && from < text.size()) from += first_utf8_char(text.substr(from)).size;
    }
    push(text, begin, text.size());
  }

 private:
  bool find(std::string_view text, size_t from) {
    // Checked once, by valid_prefix(): PCRE2 would check all of the rest for each match.
    constexpr uint32_t kOptions = PCRE2_NO_UTF_CHECK;
    int count = pcre2_match(code_, as_units(text), text.size(), from, kOptions, match_.get(), context_);
    if (count == PCRE2_ERROR_JIT_STACKLIMIT) {  // the interpreter keeps its stack on the heap
      count = pcre2_match(code_, as_units(text), text.size(), from, kOptions | PCRE2_NO_JIT, match_.get(),
                          context_);
    }
    return count >= 0;
  }

  void push(std::string_view text, size_t begin, size_t end) {
    if (end > begin) out_.push_back(text.substr(begin, end - begin));
  }

  const pcre2_code* code_;
  pcre2_match_context* context_;
  MatchData match_;
  std::vector<std::string_view>& out_;
};

}  // namespace

struct Splitter::State {
  std::vector<Code> codes;
  MatchContext context{pcre2_match_context_create(nullptr)};
};

Result<Splitter> Splitter::create(const std::vector<std::string>& patterns) {
  auto state = std::make_unique<State>();
  RF_CHECK(state->context != nullptr);
  pcre2_set_match_limit(state->context.get(), kMatchLimit);
  pcre2_set_heap_limit(state->context.get(), kHeapLimitKib);
  for (const std::string& pattern : patterns) {
    RF_TRY(Code code, compile(pattern));
    state->codes.push_back(std::move(code));
  }
  return Splitter(std::move(state));
}

Splitter::Splitter(std::unique_ptr<State> state) : state_(std::move(state)) {}
Splitter::Splitter(Splitter&&) noexcept = default;
Splitter& Splitter::operator=(Splitter&&) noexcept = default;
Splitter::~Splitter() = default;

void Splitter::split(std::string_view text, std::vector<std::string_view>& words) const {
  words.clear();
  std::vector<std::string_view> parts;
  std::vector<bool> valid;
  while (!text.empty()) {
    const size_t end = valid_prefix(text);
    if (end > 0) parts.push_back(text.substr(0, end)), valid.push_back(true);
    text.remove_prefix(end);
    if (text.empty()) break;
    const size_t bad = first_utf8_char(text).size;
    parts.push_back(text.substr(0, bad)), valid.push_back(false);
    text.remove_prefix(bad);
  }
  std::vector<std::string_view> level, next;
  for (size_t i = 0; i < parts.size(); ++i) {
    level.assign(1, parts[i]);
    for (size_t k = 0; valid[i] && k < state_->codes.size(); ++k) {
      next.clear();
      Cutter cutter(state_->codes[k].get(), state_->context.get(), next);
      for (const std::string_view part : level) cutter.cut(part);
      level.swap(next);
    }
    words.insert(words.end(), level.begin(), level.end());
  }
}

}  // namespace ringflash
