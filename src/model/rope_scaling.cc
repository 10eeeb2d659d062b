#include "model/rope_scaling.h"

#include <cmath>

#include "base/in_quotes.h"

namespace ringflash {
namespace {

constexpr double kMost = 1e6;  // of every number: none in use comes near it
constexpr int64_t kMostPositions = int64_t{1} << 40;

Error wrong(const char* key, const char* expected, const std::string& found) {
  return Error{std::string("'rope_scaling.") + key + "' must be " + expected + ", found " + found};
}

Status check(const char* key, double value, double least) {
  if (value >= least && value <= kMost) return {};
  return wrong(key, least > 0 ? "a number from 1 to 1e6" : "a number from 0 to 1e6", std::to_string(value));
}

Status check_original(int64_t positions) {
  if (positions > 0 && positions <= kMostPositions) return {};
  return wrong("original_max_position_embeddings", "above 0", std::to_string(positions));
}

}  // namespace

std::string to_string(RopeScalingType type) {
  switch (type) {
    case RopeScalingType::kNone: return "default";
    case RopeScalingType::kLinear: return "linear";
    case RopeScalingType::kLlama3: return "llama3";
    case RopeScalingType::kYarn: return "yarn";
  }
  RF_UNREACHABLE();
}

Result<RopeScalingType> parse_rope_scaling_type(const std::string& text) {
  if (text == "default" || text == "none") return RopeScalingType::kNone;
  if (text == "linear") return RopeScalingType::kLinear;
  if (text == "llama3") return RopeScalingType::kLlama3;
  if (text == "yarn") return RopeScalingType::kYarn;
  return wrong("rope_type", "\"default\", \"linear\", \"llama3\" or \"yarn\"", in_quotes(text));
}

double yarn_attention_factor(double factor) {
  return factor > 1 ? 0.1 * std::log(factor) + 1 : 1;
}

Status validate(const RopeScaling& s) {
  if (s.type == RopeScalingType::kNone) return {};
  RF_TRY_VOID(check("factor", s.factor, 1));
  switch (s.type) {
    case RopeScalingType::kNone:
    case RopeScalingType::kLinear:
      return {};
    case RopeScalingType::kLlama3:
      RF_TRY_VOID(check("low_freq_factor", s.low_freq_factor, 0));
      if (!(s.high_freq_factor > s.low_freq_factor && s.high_freq_factor <= kMost)) {
        return wrong("high_freq_factor", "above low_freq_factor", std::to_string(s.high_freq_factor));
      }
      return check_original(s.original_positions);
    case RopeScalingType::kYarn:
      RF_TRY_VOID(check("beta_slow", s.beta_slow, 0));
      if (!(s.beta_slow > 0 && s.beta_fast >= s.beta_slow && s.beta_fast <= kMost)) {
        return wrong("beta_fast", "at least beta_slow, which is above 0", std::to_string(s.beta_fast));
      }
      if (!(s.attention_factor > 0 && s.attention_factor <= kMost)) {
        return wrong("attention_factor", "above 0", std::to_string(s.attention_factor));
      }
      return check_original(s.original_positions);
  }
  RF_UNREACHABLE();
}

}  // namespace ringflash
