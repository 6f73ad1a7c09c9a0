// Folders of quantised safetensors that tools/quantise_checkpoint.py writes for a test (with the Python of
// ./setup.sh --test; without it these tests are skipped).
#pragma once
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "tests/model/python.h"

namespace heed {

// They go with the test. Of each form there are two: itself, and the plain numbers that it stands for.
class Written {
 public:
  Written(const std::string& source, const std::string& forms)
      : folder_(std::filesystem::temp_directory_path() / ("heed_quantised_" + std::to_string(::getpid()))) {
    std::filesystem::remove_all(folder_);
    const std::string command = kPython + " " + HEED_SOURCE_DIR + "/tools/quantise_checkpoint.py " + source +
                                " " + folder_.string() + " " + forms;
    EXPECT_EQ(std::system(command.c_str()), 0) << command;  // NOLINT(cert-env33-c)
  }
  ~Written() { std::filesystem::remove_all(folder_); }
  Written(const Written&) = delete;
  Written& operator=(const Written&) = delete;
  std::string path(const std::string& form) const { return folder_ / form; }
  std::string plain(const std::string& form) const { return path(form) + "-plain"; }

 private:
  std::filesystem::path folder_;
};

}  // namespace heed
