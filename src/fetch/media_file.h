// Files that a request names, below one folder.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace heed {

// The bytes of the regular file behind "file:///absolute/path", percent-encoded where it must be, which has
// to lie below `folder` by its name and in fact: "..", symbolic links and the links of /proc that lead out
// are refused by the kernel as it opens the file, or, on one that cannot (before Linux 5.6), all symbolic
// links are. kUnsupported: not below it.
Result<std::string> read_media_file(std::string_view reference, const std::string& folder, int64_t max_bytes);

// An open descriptor of `path` below the open folder, or minus an errno: by openat2, and step by step.
int open_beneath(int folder, const std::string& path);
int open_beneath_by_steps(int folder, const std::string& path);

}  // namespace heed
