// Result<T>: a value, or an Error that tells the user what was wrong with outside input.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <variant>

#include "base/check.h"

namespace ringflash {

/// What went wrong, in one line for a person: the place (file, key, flag), what was expected, what was found.
struct Error {
  std::string message;

  /// The same error with the outer place put in front: "model.gguf: tensor 'x': ...".
  Error in(const std::string& place) const { return Error{place + ": " + message}; }
};

/// A T or an Error. `value()` on an error aborts: test with `if (!result)` or use RF_TRY first.
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}

  bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }

  T& value() & { return RF_CHECK(ok()), std::get<0>(state_); }
  const T& value() const& { return RF_CHECK(ok()), std::get<0>(state_); }
  T&& value() && { return RF_CHECK(ok()), std::get<0>(std::move(state_)); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

  const Error& error() const { return RF_CHECK(!ok()), std::get<1>(state_); }

 private:
  std::variant<T, Error> state_;
};

/// Success without a value, or an Error.
template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : error_(std::move(error)) {}

  bool ok() const { return !error_; }
  explicit operator bool() const { return ok(); }
  void value() const { RF_CHECK(ok()); }
  const Error& error() const { return RF_CHECK(!ok()), *error_; }

 private:
  std::optional<Error> error_;
};

using Status = Result<void>;

}  // namespace ringflash

#define RF_CONCAT_INNER(a, b) a##b
#define RF_CONCAT(a, b) RF_CONCAT_INNER(a, b)

/// RF_TRY(auto x, f()): returns f()'s error from this function, else x is its value.
#define RF_TRY(declaration, expression) RF_TRY_INNER(declaration, expression, RF_CONCAT(rf_result_, __LINE__))
#define RF_TRY_INNER(declaration, expression, result) \
  auto result = (expression);                         \
  if (!result) return result.error();                 \
  declaration = std::move(result).value()

/// RF_TRY_VOID(f()): the same where there is no value to take.
#define RF_TRY_VOID(expression)                                               \
  do {                                                                        \
    if (auto rf_status = (expression); !rf_status) return rf_status.error();  \
  } while (false)
