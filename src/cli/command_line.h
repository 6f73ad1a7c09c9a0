// The `heed` command: parses the command line and runs one sub-command.
#pragma once

namespace heed {

// Returns the exit status: 0, 1 for a failure, 2 for wrong usage. Results go to stdout, everything else to
// stderr.
int run_command_line(int argc, char** argv);

}  // namespace heed
