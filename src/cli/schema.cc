// postern schema: the schema that validates, for editors (`# yaml-language-server: $schema=...`).
#include "gateway/schema.h"
#include "cli/verbs.h"

namespace postern::cli {

Exit schema(const Console& console) {
  const Result<config::Schema> full = gateway::full_schema();
  if (!full) {
    static_cast<void>(console.error(full.error().to_string() + "\n"));
    return Exit::runtime;
  }
  return console.out(full->text() + "\n") ? Exit::ok : Exit::runtime;
}

}  // namespace postern::cli
