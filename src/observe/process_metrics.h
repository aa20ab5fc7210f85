// The process_* families of Prometheus client libraries: memory, CPU time, open files, start time. Read from /proc when
// asked; a value that cannot be read is left out.
#pragma once

#include <string>

#include "platform/clock.h"

namespace postern::observe {

// Appends to a text exposition. `started` is told rather than read, so that it never changes between scrapes. Any
// thread; opens files, so not for a loop that carries traffic.
void append_process_metrics(std::string& out, WallTime started);

}  // namespace postern::observe
