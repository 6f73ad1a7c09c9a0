// Options from elsewhere than the command line: a TOML file (--config) and HEED_* environment variables.
// The command line wins over the file, the file over the environment.
#pragma once
#include <CLI/CLI.hpp>

namespace heed {

// Call when all sub-commands have their options.
void add_settings(CLI::App& app);

}  // namespace heed
