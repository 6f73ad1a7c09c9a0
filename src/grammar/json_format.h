// The formats of JSON schema strings, as regular expressions of the whole string.
#pragma once
#include <optional>
#include <string>
#include <string_view>

namespace heed::grammar {

// Nothing if the format is not known here.
std::optional<std::string> format_pattern(std::string_view format);

// Formats of the standard that no expression here stands for. Other names are annotations, as the standard
// says.
bool is_refused_format(std::string_view format);

inline constexpr std::string_view kFormatNames =
    "date, time, date-time, duration, email, hostname, ipv4, ipv6, uri, uuid";

}  // namespace heed::grammar
