// The version of this program, as --version and /version tell it.
#pragma once

namespace heed {

inline constexpr const char* kVersion = "0.1.0";

}  // namespace heed
