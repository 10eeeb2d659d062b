// Cuts a text into words by regular expressions, before byte-level BPE merges within each.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace ringflash {

class Splitter {
 public:
  /// Perl's syntax with Unicode's properties, as Hugging Face's tokenizers have it: PCRE2's, where \s is
  /// Unicode's White_Space. Errors: a pattern that does not compile; a build without PCRE2.
  static Result<Splitter> create(const std::vector<std::string>& patterns);

  Splitter(Splitter&&) noexcept;
  Splitter& operator=(Splitter&&) noexcept;
  ~Splitter();

  /// Each pattern in turn cuts every part that the ones before it left, before and behind each match. The
  /// words are views into the text, which they cover without a gap. Bytes that are no UTF-8 are words of
  /// their own. Where a pattern takes too long to decide, the rest of the part stays whole.
  void split(std::string_view text, std::vector<std::string_view>& words) const;

 private:
  struct State;
  explicit Splitter(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace ringflash
