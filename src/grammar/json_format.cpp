#include "grammar/json_format.h"

#include <algorithm>
#include <array>

namespace heed::grammar {
namespace {

// Years 0001 to 9999, February 29 in leap years only (RFC 3339, section 5.7).
std::string date() {
  const std::string year = "([1-9][0-9]{3}|0[1-9][0-9]{2}|00[1-9][0-9]|000[1-9])";
  const std::string leap = "([0-9]{2}(0[48]|[2468][048]|[13579][26])|(0[48]|[2468][048]|[13579][26])00)";
  const std::string days =
      "((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)"
      "|02-(0[1-9]|1[0-9]|2[0-8]))";
  return std::string("(") + year + "-" + days + "|" + leap + "-02-29)";
}

std::string time() {
  const std::string hour_minute = "([01][0-9]|2[0-3]):[0-5][0-9]";
  return hour_minute + ":[0-5][0-9](\\.[0-9]{1,9})?(Z|[+-]" + hour_minute + ")";
}

// RFC 3339, appendix A: units in order, none left out between two.
std::string duration() {
  const std::string n = "[0-9]{1,9}";
  const std::string seconds = n + "S";
  const std::string minutes = n + "M(" + seconds + ")?";
  const std::string hours = n + "H(" + minutes + ")?";
  const std::string times = std::string("T(") + hours + "|" + minutes + "|" + seconds + ")";
  const std::string days = n + "D";
  const std::string months = n + "M(" + days + ")?";
  const std::string years = n + "Y(" + months + ")?";
  return std::string("P((") + days + "|" + months + "|" + years + ")(" + times + ")?|" + times + "|" + n +
         "W)";
}

// RFC 1123 names of at most four labels, which keeps them below 253 characters; labels begin with a letter.
std::string hostname() {
  const std::string label = "[A-Za-z]([A-Za-z0-9-]{0,59}[A-Za-z0-9])?";
  return label + "(\\." + label + "){0,3}";
}

std::string email() {
  const std::string atoms = "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+";
  return atoms + "(\\." + atoms + ")*@" + hostname();
}

std::string ipv4() {
  const std::string octet = "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])";
  return octet + "(\\." + octet + "){3}";
}

// RFC 3986, IPv6address.
std::string ipv6() {
  const std::string h = "[0-9A-Fa-f]{1,4}";
  const std::string last = std::string("(") + h + ":" + h + "|" + ipv4() + ")";
  const auto groups = [&](int n) { return std::string("(") + h + ":){" + std::to_string(n) + "}"; };
  const auto before = [&](int n) {
    return std::string("((") + h + ":){0," + std::to_string(n) + "}" + h + ")?::";
  };
  return std::string("(") + groups(6) + last + "|::" + groups(5) + last + "|" + before(0) + groups(4) + last +
         "|" + before(1) + groups(3) + last + "|" + before(2) + groups(2) + last + "|" + before(3) + h + ":" +
         last + "|" + before(4) + last + "|" + before(5) + h + "|" + before(6) + ")";
}

// RFC 3986 URIs with a scheme: with an authority (a name and a port), or with a path alone.
std::string uri() {
  const std::string escaped = "%[0-9A-Fa-f]{2}";
  const std::string name = std::string("([A-Za-z0-9._~!$&'()*+,;=-]|") + escaped + ")";
  const std::string path_char = std::string("([A-Za-z0-9._~!$&'()*+,;=:@-]|") + escaped + ")";
  const std::string rest = std::string("(\\?(") + path_char + "|[/?])*)?(#(" + path_char + "|[/?])*)?";
  return std::string("[A-Za-z][A-Za-z0-9+.-]*:(//") + name + "+(:[0-9]{1,5})?(/" + path_char + "*)*|" +
         path_char + "+(/" + path_char + "*)*)" + rest;
}

}  // namespace

std::optional<std::string> format_pattern(std::string_view format) {
  if (format == "date") return date();
  if (format == "time") return time();
  if (format == "date-time") return date() + std::string("T") + time();
  if (format == "duration") return duration();
  if (format == "email") return email();
  if (format == "hostname") return hostname();
  if (format == "ipv4") return ipv4();
  if (format == "ipv6") return ipv6();
  if (format == "uri") return uri();
  if (format == "uuid") return "[0-9A-Fa-f]{8}-([0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}";
  return std::nullopt;
}

bool is_refused_format(std::string_view format) {
  constexpr std::array<std::string_view, 9> kRefused = {
      "idn-email",    "idn-hostname", "uri-reference",         "iri",  "iri-reference",
      "uri-template", "json-pointer", "relative-json-pointer", "regex"};
  return std::find(kRefused.begin(), kRefused.end(), format) != kRefused.end();
}

}  // namespace heed::grammar
