// Runs the `heed` binary in a shell.
#pragma once
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <string>

#include "base/file.h"
#include "base/json.h"

namespace heed {

inline const std::string kHeed = std::string(HEED_BINARY_DIR) + "/heed";

struct Ran {
  int status = -1;
  std::string out, err;
};

inline std::string temporary(const std::string& name) {
  return (std::filesystem::temp_directory_path() / ("heed_cli_" + std::to_string(getpid()) + "_" + name))
      .string();
}

// Runs `VARIABLES heed ARGUMENTS` in a shell, with `input` on standard input.
inline Ran heed_with(const std::string& variables, const std::string& arguments,
                     const std::string& input = "") {
  const std::string in = temporary("in"), out = temporary("out"), err = temporary("err");
  EXPECT_TRUE(write_file(in, input).ok());
  const std::string command =
      variables + " " + kHeed + " " + arguments + " <" + in + " >" + out + " 2>" + err;
  const int status = std::system(command.c_str());  // NOLINT(cert-env33-c)
  Ran ran{WIFEXITED(status) ? WEXITSTATUS(status) : -1, *read_file(out), *read_file(err)};
  for (const std::string& file : {in, out, err}) std::filesystem::remove(file);
  return ran;
}

inline Ran heed(const std::string& arguments, const std::string& input = "") {
  return heed_with("", arguments, input);
}

inline Json json_of(const Ran& ran) {
  EXPECT_EQ(ran.status, 0) << ran.err;
  return parse_json(ran.out, "output").value();
}

inline std::string file_with(const std::string& name, const Json& value) {
  const std::string path = temporary(name);
  EXPECT_TRUE(write_file(path, to_text(value)).ok());
  return path;
}

}  // namespace heed
