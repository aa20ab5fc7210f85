// The command line: which verb, with which options.
#pragma once

#include "cli/console.h"
#include "cli/exit.h"

namespace postern::cli {

// Parses and runs. Never throws; a mistake in the command line is explained on standard error.
[[nodiscard]] Exit run_command_line(int argc, const char* const* argv, const Console& console);

}  // namespace postern::cli
