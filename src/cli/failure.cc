#include "cli/failure.h"

#include "base/json_writer.h"
#include "base/strings.h"

namespace postern::cli {

Exit report(const Failure& failure, Exit exit, Format format, const Console& console) {
  if (format == Format::json) {
    std::string body;
    JsonWriter json(body);
    json.begin_object();
    json.key("error");
    json.begin_object();
    json.field("what", failure.what);
    json.field("why", failure.why);
    json.field("code", failure.code);
    json.field("fix", failure.fix);
    json.end_object();
    json.end_object();
    static_cast<void>(console.out(body + "\n"));
    return exit;
  }
  const std::string code = failure.code.empty() ? std::string() : " (" + std::string(failure.code) + ")";
  std::string text = "postern: " + visible(failure.what);
  text += failure.why.empty() ? code + "\n" : "\n  " + failure.why + code + "\n";
  if (!failure.fix.empty()) text += "  fix: " + failure.fix + "\n";
  static_cast<void>(console.error(text));
  return exit;
}

Exit report(const config::Diagnostics& diagnostics, std::string_view otherwise, Format format, const Console& console) {
  if (format == Format::json) {
    static_cast<void>(console.out(diagnostics.to_json()));
  } else {
    std::string text = diagnostics.to_text();
    if (!otherwise.empty()) text += "postern: " + std::string(otherwise) + "\n";
    static_cast<void>(console.error(text));
  }
  return Exit::configuration;
}

}  // namespace postern::cli
