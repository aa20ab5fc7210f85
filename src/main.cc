// postern: see src/cli/verbs.h for what it can do and src/gateway/gateway.h for what it is.
#include <fcntl.h>
#include <unistd.h>

#include <csignal>

#include "cli/command_line.h"

namespace {

// A standard stream that is closed at the start would be the number of the next file or socket, and what is printed
// would go into it. Writing to this one fails.
void occupy_standard_streams() noexcept {
  int fd = 0;
  do {
    fd = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  } while (fd >= 0 && fd <= STDERR_FILENO);
  if (fd >= 0) ::close(fd);
}

}  // namespace

int main(int argc, char** argv) {
  occupy_standard_streams();
  std::signal(SIGPIPE, SIG_IGN);  // NOLINT: a reader that is gone is an errno, which a verb can answer for
  return static_cast<int>(postern::cli::run_command_line(argc, argv, postern::cli::Console()));
}
