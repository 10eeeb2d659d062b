#include "model/sparsity.h"

#include <algorithm>

#include "base/ceil_div.h"
#include "base/in_quotes.h"

namespace ringflash {
namespace {

struct Exception {
  std::string part;
  SparsePattern pattern;
};

Result<Exception> parse_exception(const std::string& text) {
  const size_t equals = text.rfind('=');
  if (equals == std::string::npos || equals == 0) {
    return Error{"expected PART=PATTERN, as in layers.0.=none, found " + in_quotes(text)};
  }
  RF_TRY(const SparsePattern pattern, parse_sparse_pattern(text.substr(equals + 1)));
  return Exception{text.substr(0, equals), pattern};
}

}  // namespace

std::string to_string(SparsePattern pattern) {
  switch (pattern) {
    case SparsePattern::kNone:
      return "none";
    case SparsePattern::kFine:
      return "fine";
    case SparsePattern::kBlock:
      return "block";
  }
  RF_UNREACHABLE();
}

Result<SparsePattern> parse_sparse_pattern(const std::string& text) {
  for (const SparsePattern pattern : {SparsePattern::kNone, SparsePattern::kFine, SparsePattern::kBlock}) {
    if (text == to_string(pattern)) return pattern;
  }
  return Error{"a sparse pattern must be none, fine or block, found " + in_quotes(text)};
}

SparsePattern SparsityConfig::pattern_of(std::string_view tensor) const {
  SparsePattern found = pattern;
  for (const std::string& text : exceptions) {
    const Exception exception = parse_exception(text).value();
    if (tensor.find(exception.part) != std::string_view::npos) found = exception.pattern;
  }
  return found;
}

int64_t kept_tiles(int64_t keep, int64_t in) {
  const int64_t tiles = ceil_div(in, kBlockColumns);
  return std::clamp<int64_t>((keep * tiles + kSparseGroup / 2) / kSparseGroup, 1, tiles);
}

int64_t active_weights(SparsePattern pattern, int64_t keep, int64_t out, int64_t in) {
  switch (pattern) {
    case SparsePattern::kNone:
      return out * in;
    case SparsePattern::kFine:
      return out * (in / kSparseGroup * keep + std::min(keep, in % kSparseGroup));
    case SparsePattern::kBlock:
      return out * std::min(in, kept_tiles(keep, in) * kBlockColumns);
  }
  RF_UNREACHABLE();
}

Status validate(const SparsityConfig& config) {
  if (config.keep < 1 || config.keep > kSparseGroup) {
    return Error{"'sparsity_keep' must be between 1 and " + std::to_string(kSparseGroup) + ", found " +
                 std::to_string(config.keep)};
  }
  if (config.weight_bits != 4 && config.weight_bits != 8 && config.weight_bits != 16) {
    return Error{"'weight_bits' must be 4, 8 or 16, found " + std::to_string(config.weight_bits)};
  }
  if (config.weight_bits != 16 && config.pattern != SparsePattern::kNone &&
      config.keep % 4 != 0 && config.keep <= 16) {
    return Error{"'sparsity_keep' must be 4, 8, 12, 16 or more where 'weight_bits' is not 16, found " +
                 std::to_string(config.keep)};
  }
  for (const std::string& text : config.exceptions) {
    if (Result<Exception> parsed = parse_exception(text); !parsed)
      return parsed.error().in("'sparsity_exceptions'");
  }
  return {};
}

}  // namespace ringflash
