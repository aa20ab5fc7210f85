// postern version: what runs here, and on what.
#include <ares.h>
#include <openssl/crypto.h>
#include <sqlite3.h>

#include <string>

#include "base/json_writer.h"
#include "cli/verbs.h"

namespace postern::cli {

Exit version(Format format, const Console& console) {
  std::string text;
  if (format == Format::json) {
    JsonWriter json(text);
    json.begin_object();
    json.field("version", POSTERN_VERSION);
    json.field("openssl", OpenSSL_version(OPENSSL_VERSION_STRING));
    json.field("c-ares", ares_version(nullptr));
    json.field("sqlite", sqlite3_libversion());
    json.end_object();
    text += "\n";
  } else {
    text = std::string("postern ") + POSTERN_VERSION + " (OpenSSL " + OpenSSL_version(OPENSSL_VERSION_STRING) +
           ", c-ares " + ares_version(nullptr) + ", SQLite " + sqlite3_libversion() + ")\n";
  }
  return console.out(text) ? Exit::ok : Exit::runtime;
}

}  // namespace postern::cli
