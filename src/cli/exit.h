// Exit codes of every verb. They are public: scripts and service managers depend on them.
#pragma once

namespace postern::cli {

enum class Exit : int {
  ok = 0,
  runtime = 1,        // the system refused something: an address, a file, a socket
  usage = 2,          // the command line is wrong
  configuration = 3,  // the configuration is wrong
  proof_failed = 4,   // a check of a lock failed
  unreachable = 5,    // nobody answers where somebody should
};

}  // namespace postern::cli
