// The pictures beside this file.
#pragma once
#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "base/file.h"

namespace heed {

inline std::string pictures_folder() { return HEED_SOURCE_DIR "/tests/media/pictures/"; }
inline std::string picture(const std::string& name) { return read_file(pictures_folder() + name).value(); }

inline std::vector<std::string> picture_names() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(pictures_folder())) {
    if (entry.path().extension() != ".ppm") names.push_back(entry.path().filename());
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace heed
