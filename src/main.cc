// postern: see src/cli/verbs.h for what it can do and src/gateway/gateway.h for what it is.
#include "cli/command_line.h"

int main(int argc, char** argv) {
  return static_cast<int>(postern::cli::run_command_line(argc, argv, postern::cli::Console()));
}
