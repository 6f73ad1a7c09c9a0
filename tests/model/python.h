// The Python of ./setup.sh --test, which runs tools that write a test's material; without it the test is
// skipped.
#pragma once
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

namespace heed {

inline const std::string kPython = std::string(HEED_SOURCE_DIR) + "/.venv/bin/python";

#define NEEDS_PYTHON() \
  if (!std::filesystem::exists(kPython)) GTEST_SKIP() << "no " << kPython << "; run ./setup.sh --test"

}  // namespace heed
