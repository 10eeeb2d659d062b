#include "format/rope_scaling_json.h"

#include <set>
#include <string>

#include "base/in_quotes.h"
#include "format/json_text.h"

namespace ringflash {
namespace {

using nlohmann::json;

Error wrong(const std::string& key, const std::string& expected, const json& found) {
  return Error{"'rope_scaling" + key + "' must be " + expected + ", found " + show(found)};
}

/// Shows each number that the type reads to `visit(key, field, required)`.
template <typename Scaling, typename Visitor>
void visit_fields(Scaling& s, Visitor&& visit) {
  switch (s.type) {
    case RopeScalingType::kNone:
      return;
    case RopeScalingType::kLinear:
      return visit("factor", s.factor, true);
    case RopeScalingType::kLlama3:
      visit("factor", s.factor, true);
      visit("low_freq_factor", s.low_freq_factor, true);
      visit("high_freq_factor", s.high_freq_factor, true);
      return visit("original_max_position_embeddings", s.original_positions, true);
    case RopeScalingType::kYarn:
      visit("factor", s.factor, true);
      visit("original_max_position_embeddings", s.original_positions, true);
      visit("beta_fast", s.beta_fast, false);
      visit("beta_slow", s.beta_slow, false);
      return visit("attention_factor", s.attention_factor, false);
  }
  RF_UNREACHABLE();
}

struct FieldReader {
  const json& object;
  std::set<std::string> known = {"rope_type", "type", "rope_theta"};
  Status status = {};

  template <typename Field>
  void operator()(const char* key, Field& field, bool required) {
    known.insert(key);
    const auto it = object.find(key);
    if (!status || (!required && (it == object.end() || it->is_null()))) return;
    if (it == object.end() || !it->is_number()) {
      status = wrong(std::string(".") + key, "a number", it == object.end() ? json(nullptr) : *it);
    } else if constexpr (std::is_integral_v<Field>) {
      if (!it->is_number_integer()) status = wrong(std::string(".") + key, "an integer", *it);
      if (status) field = it->template get<Field>();
    } else {
      field = it->template get<Field>();
    }
  }
};

Result<RopeScalingType> read_type(const json& value) {
  json name = value.value("rope_type", json(nullptr));
  if (name.is_null()) name = value.value("type", json(nullptr));
  if (!name.is_string()) return wrong(".rope_type", "a string", name);
  return parse_rope_scaling_type(name.get<std::string>());
}

}  // namespace

Result<RopeScaling> rope_scaling_from_json(const json& value) {
  RopeScaling scaling;
  if (value.is_null()) return scaling;
  if (!value.is_object()) return wrong("", "an object or null", value);
  RF_TRY(scaling.type, read_type(value));
  FieldReader reader{value};
  visit_fields(scaling, reader);
  RF_TRY_VOID(reader.status);
  for (const auto& [key, ignored] : value.items()) {
    if (scaling.type != RopeScalingType::kNone && !reader.known.contains(key)) {
      return Error{"'rope_scaling' of type " + to_string(scaling.type) + " has an unknown key " + in_quotes(key)};
    }
  }
  const bool yarn = scaling.type == RopeScalingType::kYarn;
  if (yarn && value.value("attention_factor", json(nullptr)).is_null()) {
    scaling.attention_factor = yarn_attention_factor(scaling.factor);
  }
  RF_TRY_VOID(validate(scaling));
  return scaling;
}

nlohmann::ordered_json rope_scaling_to_json(const RopeScaling& scaling) {
  if (scaling.type == RopeScalingType::kNone) return nullptr;
  nlohmann::ordered_json object = {{"rope_type", to_string(scaling.type)}};
  visit_fields(scaling, [&](const char* key, const auto& field, bool) { object[key] = field; });
  return object;
}

}  // namespace ringflash
