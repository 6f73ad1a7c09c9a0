// GGUF files that tools/export_gguf.py writes for a test (with the Python of ./setup.sh --test; without it
// these tests are skipped).
#pragma once
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "tests/model/python.h"

namespace heed {

// A file that goes with the test.
class Exported {
 public:
  Exported(const std::string& folder, const std::string& type, const std::string& more = "")
      : folder_(std::filesystem::temp_directory_path() /
                ("heed_gguf_" + std::to_string(::getpid()) + "_" + type)) {
    std::filesystem::create_directories(folder_);
    const std::string command = kPython + " " + HEED_SOURCE_DIR + "/tools/export_gguf.py " + folder + " " +
                                path() + " --type " + type + " " + more;
    EXPECT_EQ(std::system(command.c_str()), 0) << command;  // NOLINT(cert-env33-c)
  }
  ~Exported() { std::filesystem::remove_all(folder_); }
  Exported(const Exported&) = delete;
  Exported& operator=(const Exported&) = delete;
  std::string path() const { return folder_ / "model.gguf"; }
  std::string first_of(int count) const {
    char name[40];
    std::snprintf(name, sizeof name, "model-00001-of-%05d.gguf", count);
    return folder_ / name;
  }

 private:
  std::filesystem::path folder_;
};

}  // namespace heed
