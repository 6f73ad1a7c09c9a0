// Result<T>: a value, or an Error that names what was wrong with the input and what would be accepted.
//
// Everything that reads input from outside (files, flags, requests) returns one; it has the shape of
// std::expected, which C++20 lacks. Our own bugs are CHECKs instead (check.h).
//
//   Result<Config> read(...) {
//     std::string text = TRY(read_file(path));         // hands an Error on to our caller
//     if (text.empty()) return invalid("{}: empty");   // any Error converts to any Result
#pragma once
#include <optional>
#include <string>
#include <utility>
#include <variant>

#include "base/check.h"

namespace heed {

enum class ErrorCode {
  kInvalid,      // the input is wrong: bad file, flag or request
  kUnsupported,  // the input is right, but nothing here can do it
  kNotFound,     // a file or name that does not exist
  kLimit,        // a limit on size, steps, depth or memory was reached
  kBusy,         // right, but not now: a queue is full
  kStopped,      // right, but this is shutting down
};

struct Error {
  ErrorCode code = ErrorCode::kInvalid;
  std::string message;  // one line, without a final period or line break

  // The same error, told from further out: "tokenizer.json: <message>".
  Error within(const std::string& place) && {
    message.insert(0, place + ": ");
    return std::move(*this);
  }
};

inline Error invalid(std::string message) { return {ErrorCode::kInvalid, std::move(message)}; }
inline Error unsupported(std::string message) { return {ErrorCode::kUnsupported, std::move(message)}; }
inline Error not_found(std::string message) { return {ErrorCode::kNotFound, std::move(message)}; }
inline Error limit_reached(std::string message) { return {ErrorCode::kLimit, std::move(message)}; }
inline Error busy(std::string message) { return {ErrorCode::kBusy, std::move(message)}; }
inline Error stopped(std::string message) { return {ErrorCode::kStopped, std::move(message)}; }

template <class T>
class [[nodiscard]] Result {
 public:
  // NOLINTBEGIN(google-explicit-constructor): `return value;` and `return error;` are the point.
  Result(T value) : held_(std::in_place_index<0>, std::move(value)) {}
  Result(Error error) : held_(std::in_place_index<1>, std::move(error)) {}
  // NOLINTEND(google-explicit-constructor)

  bool ok() const { return held_.index() == 0; }
  explicit operator bool() const { return ok(); }

  T& value() & {
    CHECK(ok(), message());
    return std::get<0>(held_);
  }
  const T& value() const& {
    CHECK(ok(), message());
    return std::get<0>(held_);
  }
  T value() && {  // by value: safe in a range-for over a temporary
    CHECK(ok(), message());
    return std::get<0>(std::move(held_));
  }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T operator*() && { return std::move(*this).value(); }

  const Error& error() const& {
    CHECK(!ok());
    return std::get<1>(held_);
  }
  Error&& error() && {
    CHECK(!ok());
    return std::get<1>(std::move(held_));
  }

 private:
  std::string message() const { return ok() ? "" : std::get<1>(held_).message; }
  std::variant<T, Error> held_;
};

// Success or an Error; `return {};` is success.
template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : error_(std::move(error)) {}  // NOLINT(google-explicit-constructor)
  bool ok() const { return !error_; }
  explicit operator bool() const { return ok(); }
  void value() const { CHECK(ok(), error_->message); }
  const Error& error() const& {
    CHECK(!ok());
    return *error_;
  }
  Error&& error() && {
    CHECK(!ok());
    return *std::move(error_);
  }

 private:
  std::optional<Error> error_;
};

using Status = Result<void>;

}  // namespace heed

// The value of a Result, or return its Error from this function. A statement expression, as g++ and clang
// know it: on an error, temporaries made earlier in the same full expression are not destroyed. So nothing
// that owns memory may stand before it there: not `f(std::string(a), TRY(b))`, not `T{std::move(a), TRY(b)}`,
// but a line of its own.
#define TRY(expression)                                           \
  __extension__({                                                 \
    auto&& try_result_ = (expression);                            \
    if (!try_result_.ok()) return std::move(try_result_).error(); \
    std::move(try_result_).value();                               \
  })
