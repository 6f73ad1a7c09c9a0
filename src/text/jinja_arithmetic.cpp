#include <cmath>

#include "text/jinja_format.h"
#include "text/jinja_operators.h"
#include "text/jinja_print.h"

namespace heed::jinja {
namespace {

Error overflow() { return invalid("an integer is beyond 64 bits"); }
Error division_by_zero() { return invalid("division by zero"); }

Error wrong_operands(NodeType operation, const Value& a, const Value& b) {
  const char* name = "operator";
  switch (operation) {
    case NodeType::kAdd:
      name = "+";
      break;
    case NodeType::kSubtract:
      name = "-";
      break;
    case NodeType::kMultiply:
      name = "*";
      break;
    case NodeType::kDivide:
      name = "/";
      break;
    case NodeType::kFloorDivide:
      name = "//";
      break;
    case NodeType::kModulo:
      name = "%";
      break;
    case NodeType::kPower:
      name = "**";
      break;
    default:
      break;
  }
  return invalid(std::string("unsupported operand types for ") + name + ": " + type_name(a) + " and " +
                 type_name(b));
}

Result<Value> integer_power(int64_t base, int64_t exponent) {
  int64_t result = 1;
  while (exponent > 0) {
    if ((exponent & 1) != 0 && __builtin_mul_overflow(result, base, &result)) return overflow();
    exponent >>= 1;
    if (exponent > 0 && __builtin_mul_overflow(base, base, &base)) return overflow();
  }
  return Value::integer(result);
}

Result<Value> float_power(double base, double exponent) {
  if (base == 0 && exponent < 0) return invalid("0.0 cannot be raised to a negative power");
  if (base < 0 && std::isfinite(base) && std::isfinite(exponent) && exponent != std::floor(exponent)) {
    return unsupported("complex numbers are not supported");
  }
  const double result = std::pow(base, exponent);
  if (std::isinf(result) && std::isfinite(base) && std::isfinite(exponent))
    return invalid("numerical result out of range");
  return Value::real(result);
}

Result<Value> integer_arithmetic(NodeType operation, int64_t a, int64_t b) {
  int64_t result = 0;
  switch (operation) {
    case NodeType::kAdd:
      return __builtin_add_overflow(a, b, &result) ? Result<Value>(overflow()) : Value::integer(result);
    case NodeType::kSubtract:
      return __builtin_sub_overflow(a, b, &result) ? Result<Value>(overflow()) : Value::integer(result);
    case NodeType::kMultiply:
      return __builtin_mul_overflow(a, b, &result) ? Result<Value>(overflow()) : Value::integer(result);
    case NodeType::kPower:
      if (b < 0) return float_power(static_cast<double>(a), static_cast<double>(b));
      return integer_power(a, b);
    default:
      break;
  }
  if (b == 0) return division_by_zero();
  if (operation == NodeType::kDivide) {
    return Value::real(static_cast<double>(static_cast<long double>(a) / static_cast<long double>(b)));
  }
  if (b == -1)
    return operation == NodeType::kModulo ? Value::integer(0) : integer_arithmetic(NodeType::kSubtract, 0, a);
  const int64_t remainder = a % b;
  const bool rounds_down = remainder != 0 && (remainder < 0) != (b < 0);
  if (operation == NodeType::kModulo) return Value::integer(rounds_down ? remainder + b : remainder);
  return Value::integer(a / b - (rounds_down ? 1 : 0));
}

// Python's floor division and modulo of floats: the remainder has the sign of the divisor.
Result<Value> float_division(NodeType operation, double a, double b) {
  if (b == 0) return division_by_zero();
  double remainder = std::fmod(a, b);
  double quotient = (a - remainder) / b;
  if (remainder != 0) {
    if ((b < 0) != (remainder < 0)) {
      remainder += b;
      quotient -= 1.0;
    }
  } else {
    remainder = std::copysign(0.0, b);
  }
  if (operation == NodeType::kModulo) return Value::real(remainder);
  if (quotient == 0) return Value::real(std::copysign(0.0, a / b));
  const double floored = std::floor(quotient);
  return Value::real(quotient - floored > 0.5 ? floored + 1.0 : floored);
}

Result<Value> float_arithmetic(NodeType operation, double a, double b) {
  switch (operation) {
    case NodeType::kAdd:
      return Value::real(a + b);
    case NodeType::kSubtract:
      return Value::real(a - b);
    case NodeType::kMultiply:
      return Value::real(a * b);
    case NodeType::kDivide:
      return b == 0 ? Result<Value>(division_by_zero()) : Value::real(a / b);
    case NodeType::kPower:
      return float_power(a, b);
    default:
      return float_division(operation, a, b);
  }
}

Result<Value> concatenate_text(Runtime& runtime, const Value& a, const Value& b) {
  const bool markup = a.markup() || b.markup();
  const auto size = static_cast<int64_t>(a.text().size() + b.text().size());
  TRY(runtime.room(markup ? 5 * size : size));
  TRY(runtime.work(1 + size / 16));
  std::string out;
  out.reserve(static_cast<size_t>(size));
  for (const Value* part : {&a, &b}) {
    if (markup && !part->markup()) {
      out += escape_html(part->text());
    } else {
      out += part->text();
    }
  }
  return runtime.text(std::move(out), markup);
}

Result<Value> concatenate(Runtime& runtime, const Value& a, const Value& b) {
  if (a.is_string() && b.is_string()) return concatenate_text(runtime, a, b);
  if (!a.is_sequence() || a.kind() != b.kind()) return wrong_operands(NodeType::kAdd, a, b);
  const auto size = static_cast<int64_t>(a.items().size() + b.items().size());
  TRY(runtime.room_for(size, sizeof(Value)));
  TRY(runtime.work(size));
  Values items;
  items.reserve(static_cast<size_t>(size));
  items.insert(items.end(), a.items().begin(), a.items().end());
  items.insert(items.end(), b.items().begin(), b.items().end());
  return a.is(Kind::kList) ? runtime.list(std::move(items)) : runtime.tuple(std::move(items));
}

Result<Value> repeat(Runtime& runtime, const Value& sequence, int64_t times) {
  times = std::max<int64_t>(times, 0);
  if (sequence.is_string()) {
    const auto size = static_cast<int64_t>(sequence.text().size());
    TRY(runtime.room_for(times, size));
    if (size == 0) times = 0;
    TRY(runtime.work(1 + times * size / 16));
    std::string out;
    out.reserve(static_cast<size_t>(times * size));
    for (int64_t i = 0; i < times; ++i) out += sequence.text();
    return runtime.text(std::move(out), sequence.markup());
  }
  const auto size = static_cast<int64_t>(sequence.items().size());
  TRY(runtime.room_for(times, size * static_cast<int64_t>(sizeof(Value))));
  if (size == 0) times = 0;
  TRY(runtime.work(times * size));
  Values items;
  items.reserve(static_cast<size_t>(times * size));
  for (int64_t i = 0; i < times; ++i)
    items.insert(items.end(), sequence.items().begin(), sequence.items().end());
  return sequence.is(Kind::kList) ? runtime.list(std::move(items)) : runtime.tuple(std::move(items));
}

bool repeats(const Value& sequence, const Value& times) {
  return (sequence.is_string() || sequence.is_sequence()) && times.is_integral();
}

}  // namespace

Result<Value> arithmetic(Runtime& runtime, NodeType operation, const Value& a, const Value& b) {
  if (operation == NodeType::kModulo && a.is_string()) return format_percent(runtime, a, b);
  if (a.is_undefined()) return undefined_error(a);
  if (b.is_undefined()) return undefined_error(b);
  if (a.is_integral() && b.is_integral()) return integer_arithmetic(operation, a.as_int(), b.as_int());
  if (a.is_number() && b.is_number()) return float_arithmetic(operation, a.as_real(), b.as_real());
  if (operation == NodeType::kAdd) return concatenate(runtime, a, b);
  if (operation == NodeType::kMultiply && repeats(a, b)) return repeat(runtime, a, b.as_int());
  if (operation == NodeType::kMultiply && repeats(b, a)) return repeat(runtime, b, a.as_int());
  return wrong_operands(operation, a, b);
}

}  // namespace heed::jinja
