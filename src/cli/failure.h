// Failure: why a verb did not do what it was asked for, in the form of all messages: what, why it matters, how to mend
// it. Configuration has its own (config/diagnostics.h).
#pragma once

#include <string>
#include <string_view>

#include "cli/verbs.h"
#include "config/diagnostics.h"

namespace postern::cli {

struct Failure {
  std::string what;
  std::string why;        // may be ""
  std::string_view code;  // "PST-P503"; "" if it has none
  std::string fix;        // may be ""
};

// Text for people goes to standard error. With Format::json it is {"error": {what, why, code, fix}} on standard output,
// where programs read. Returns `exit`.
[[nodiscard]] Exit report(const Failure& failure, Exit exit, Format format, const Console& console);

// The same for what is wrong with a configuration file; `otherwise` says in text how to do without the file, "" if that
// is not possible.
[[nodiscard]] Exit report(const config::Diagnostics& diagnostics, std::string_view otherwise, Format format,
                          const Console& console);

}  // namespace postern::cli
