#include "train/progression.h"

#include <nlohmann/json.hpp>

namespace ringflash {
namespace {

using Json = nlohmann::json;

constexpr uint64_t kMaxCount = uint64_t{1} << 40;

/// Takes fields out of state.json; the first that does not fit is the error.
class Reader {
 public:
  explicit Reader(const Json& json) : json_(json) {}

  void take(const char* key, double& field) {
    if (check(key, "a number", [](const Json& value) { return value.is_number(); })) json_[key].get_to(field);
  }
  void take(const char* key, int64_t& field) {
    const auto is_count = [](const Json& value) {
      return value.is_number_unsigned() && value.get<uint64_t>() <= kMaxCount;
    };
    if (check(key, "a count", is_count)) json_[key].get_to(field);
  }
  void take(const char* key, uint64_t& field) {
    if (check(key, "a hash", [](const Json& value) { return value.is_number_unsigned(); })) json_[key].get_to(field);
  }
  void take(const char* key, std::string& field) {
    if (check(key, "a text", [](const Json& value) { return value.is_string(); })) json_[key].get_to(field);
  }
  void take(const char* key, std::optional<double>& field) {
    const auto fits = [](const Json& value) { return value.is_number() || value.is_null(); };
    if (check(key, "a number or null", fits) && !json_[key].is_null()) field = json_[key].get<double>();
  }

  Status status;

 private:
  template <typename Fits>
  bool check(const char* key, const char* expected, const Fits& fits) {
    if (!status) return false;
    if (json_.contains(key) && fits(json_[key])) return true;
    status = Error{std::string("'") + key + "' must be " + expected + ", found " +
                   (json_.contains(key) ? json_[key].dump() : "nothing")};
    return false;
  }
  const Json& json_;
};

/// The one list of fields behind reading and writing.
template <typename State, typename Visitor>
void visit_state(State& p, Visitor&& visit) {
  visit("step", p.step);
  visit("rows", p.rows);
  visit("optimizer_steps", p.optimizer_steps);
  visit("data", p.data);
  visit("seconds", p.seconds);
  visit("first_heldout_bits_per_byte", p.first_heldout);
  visit("best_heldout_loss", p.best_heldout);
  visit("best_step", p.best_step);
  visit("loss_mean", p.guard.mean);
  visit("loss_variance", p.guard.variance);
  visit("loss_seen", p.guard.seen);
  visit("bad_in_row", p.guard.bad_in_row);
  visit("loss_scale", p.scaler.scale);
  visit("loss_scale_good_in_row", p.scaler.good_in_row);
  visit("teacher", p.teacher);
  visit("teacher_hash", p.teacher_hash);
}

Json to_json(const std::optional<double>& value) { return value ? Json(*value) : Json(nullptr); }
template <typename Value>
Json to_json(const Value& value) {
  return Json(value);
}

}  // namespace

std::string progression_to_json(const Progression& progression) {
  nlohmann::ordered_json json = {{"format", 1}};
  visit_state(progression, [&](const char* key, const auto& value) { json[key] = to_json(value); });
  // A path need not be UTF-8.
  return json.dump(2, ' ', /*ensure_ascii=*/false, Json::error_handler_t::replace) + "\n";
}

Result<Progression> progression_from_json(std::string_view text) {
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return Error{"expected a JSON object"};
  Progression progression;
  Reader reader(json);
  visit_state(progression, [&](const char* key, auto& value) { reader.take(key, value); });
  if (!reader.status) return reader.status.error();
  return progression;
}

}  // namespace ringflash
