// Names that nobody can guess: a prefix and 128 random bits as 32 hexadecimal digits.
#pragma once
#include <string>
#include <string_view>

namespace heed {

std::string random_id(std::string_view prefix);

// Exactly what random_id(prefix) can give: nothing that could mean another path.
bool is_random_id(std::string_view prefix, std::string_view id);

}  // namespace heed
