// postern issuer: the keys of the gateway's issuer, in their directory, and what is published about them. A running
// gateway sees a change within a second.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <system_error>

#include "base/json_writer.h"
#include "base/strings.h"
#include "cli/failure.h"
#include "cli/paths.h"
#include "cli/verbs.h"
#include "config/units.h"
#include "issuer/key_directory.h"
#include "platform/whole_file.h"

namespace postern::cli {
namespace {

using issuer::IssuerKeys;
using issuer::KeyDirectory;
using issuer::KeyRing;
using When = KeyRing::When;

constexpr std::uint32_t kPublicMode = 0644;

Exit report_error(const Error& error, const IssuerOptions& options, const Console& console) {
  Failure failure{std::string(error.detail()), {}, {}, {}};
  failure.code = info(error.code()).id;
  failure.fix = "work as the user that the gateway runs as, and see whether `directory` is the right one";
  return report(failure, Exit::runtime, options.format, console);
}

// False after explaining why it is not known.
bool find(const IssuerOptions& options, config::IssuerConfig& out, const Console& console) {
  config::Diagnostics diagnostics(options.config);
  if (find_issuer(options.config, out, diagnostics)) {
    if (!options.directory.empty()) out.directory = options.directory;
    return true;
  }
  static_cast<void>(report(diagnostics, {}, options.format, console));
  return false;
}

KeyDirectory directory_of(const config::IssuerConfig& config) {
  return KeyDirectory({.path = config.directory,
                       .algorithms = config.options.algorithms,
                       .rotation = config.options.rotation,
                       .files = config.keys});
}

// One key as people see it.
struct Row {
  const KeyRing::Entry& entry;
  std::string_view role;  // "next", "signing", "old", "gone"; "unused": of an algorithm that is not configured any more
  std::optional<WallTime> signs_until;
  std::optional<WallTime> published_until;
};

std::vector<Row> rows_of(const KeyRing& ring, const issuer::IssuerOptions& options, WallTime now) {
  constexpr std::array<std::string_view, 4> kRoles = {"next", "signing", "old", "gone"};
  std::vector<Row> out;
  const auto entries = ring.entries();
  for (auto it = entries.begin(); it != entries.end(); ++it) {
    Row row{*it, kRoles[static_cast<std::size_t>(ring.role(*it, now, options.rotation))], {}, {}};
    const auto successor = std::find_if(it + 1, entries.end(),
                                        [&](const KeyRing::Entry& other) { return other.algorithm == it->algorithm; });
    if (successor != entries.end()) {
      row.signs_until = successor->signs_from;
      row.published_until = successor->signs_from + options.rotation.overlap;
    }
    const bool configured = std::ranges::find(options.algorithms, it->algorithm) != options.algorithms.end();
    if (!configured && row.role == "signing") row.role = "unused";
    out.push_back(row);
  }
  return out;
}

// Algorithms that a running gateway would make a key for at this moment.
std::vector<std::string_view> due(const KeyRing& ring, const issuer::IssuerOptions& options, WallTime now) {
  std::vector<std::string_view> out;
  for (const jose::Algorithm algorithm : options.algorithms) {
    if (ring.wants_key(algorithm, now, options.rotation)) out.push_back(name_of(algorithm));
  }
  return out;
}

std::string json_of(const IssuerKeys& keys, const config::IssuerConfig& config, WallTime now) {
  std::string text;
  JsonWriter json(text);
  const auto time = [&](std::string_view name, std::optional<WallTime> when) {
    json.key(name);
    when ? json.value(config::format_timestamp(*when)) : json.value_null();
  };
  json.begin_object();
  json.field("url", config.options.url);
  json.field("directory", config.directory);
  json.key("keys");
  json.begin_array();
  for (const Row& row : rows_of(keys.ring, config.options, now)) {
    json.begin_object();
    json.field("kid", row.entry.kid);
    json.field("algorithm", name_of(row.entry.algorithm));
    json.field("role", row.role);
    time("published", row.entry.published);
    time("signs_from", row.entry.signs_from);
    time("signs_until", row.signs_until);
    time("published_until", row.published_until);
    json.end_object();
  }
  json.end_array();
  json.key("due");
  json.begin_array();
  for (const std::string_view algorithm : due(keys.ring, config.options, now)) json.value(algorithm);
  json.end_array();
  time("next_change", keys.ring.next_change(now, config.options.rotation));
  json.end_object();
  return text + "\n";
}

std::string text_of(const Row& row) {
  const auto at = [](WallTime when) { return config::format_timestamp(when); };
  if (row.role == "next") return "signs from " + at(row.entry.signs_from);
  if (row.role == "signing") {
    return "signs since " + at(row.entry.signs_from) +
           (row.signs_until ? ", until " + at(*row.signs_until) : std::string(", has no successor yet"));
  }
  if (row.role == "unused") return "its algorithm is not configured; `postern issuer remove` takes it away";
  if (row.role == "gone") return "is removed by the next gateway that looks";
  return "has signed; published until " + at(row.published_until.value_or(row.entry.signs_from));
}

bool show(const IssuerKeys& keys, const config::IssuerConfig& config, const IssuerOptions& options, WallTime now,
          const Console& console) {
  if (options.format == Format::json) return console.out(json_of(keys, config, now));
  std::string text =
      fmt::format("issuer     {}\ndirectory  {}\n", visible(config.options.url), visible(config.directory));
  for (const Row& row : rows_of(keys.ring, config.options, now)) {
    text += fmt::format("{:<8} {}  {:<7}  {}\n", name_of(row.entry.algorithm), row.entry.kid, row.role, text_of(row));
  }
  for (const std::string_view algorithm : due(keys.ring, config.options, now)) {
    text += fmt::format("{:<8} a key is due; a running gateway makes it\n", algorithm);
  }
  return console.out(text);
}

// Below `root`, in the directories of its path: readable for whoever publishes it.
Result<std::string> write_document(const std::string& root, const issuer::Document& document) {
  const std::string path = root + document.path;
  std::error_code error;
  std::filesystem::create_directories(std::filesystem::path(path).parent_path(), error);
  if (error) return fail(Code::io_failed, Side::gateway, path + ": " + error.message());
  Result<void> written = write_whole_file(path, document.body, kPublicMode);
  if (!written) return std::unexpected(std::move(written.error()));
  return path;
}

}  // namespace

Exit issuer_status(const IssuerOptions& options, const Console& console) {
  config::IssuerConfig config;
  if (!find(options, config, console)) return Exit::configuration;
  const Result<IssuerKeys> keys = directory_of(config).load();
  if (!keys) return report_error(keys.error(), options, console);
  return show(*keys, config, options, SystemClock().wall(), console) ? Exit::ok : Exit::runtime;
}

Exit issuer_rotate(const IssuerRotateOptions& options, const Console& console) {
  config::IssuerConfig config;
  if (!find(options, config, console)) return Exit::configuration;
  std::optional<jose::Algorithm> algorithm;
  if (!options.algorithm.empty()) {
    algorithm = jose::algorithm_by_name(options.algorithm);
    const auto& configured = config.options.algorithms;
    if (!algorithm || std::ranges::find(configured, *algorithm) == configured.end()) {
      std::string known;
      for (const jose::Algorithm it : configured) known += (known.empty() ? "" : ", ") + std::string(name_of(it));
      return report({.what = "the issuer does not sign with " + options.algorithm,
                     .why = {},
                     .code = {},
                     .fix = "name one of " + known},
                    Exit::usage, options.format, console);
    }
  }
  const WallTime now = SystemClock().wall();
  const Result<IssuerKeys> keys =
      directory_of(config).rotate(algorithm, options.now ? When::at_once : When::after_lead, now);
  if (!keys) return report_error(keys.error(), options, console);
  if (options.now && options.format == Format::text) {
    static_cast<void>(console.error(
        "verifiers that keep the keys for a while refuse new tokens until they look again; a key that was "
        "stolen is good until `postern issuer remove KID`\n"));
  }
  return show(*keys, config, options, now, console) ? Exit::ok : Exit::runtime;
}

Exit issuer_remove(const IssuerRemoveOptions& options, const Console& console) {
  config::IssuerConfig config;
  if (!find(options, config, console)) return Exit::configuration;
  const WallTime now = SystemClock().wall();
  const Result<IssuerKeys> keys = directory_of(config).remove(options.kid, now);
  if (!keys) return report_error(keys.error(), options, console);
  return show(*keys, config, options, now, console) ? Exit::ok : Exit::runtime;
}

Exit issuer_export(const IssuerExportOptions& options, const Console& console) {
  config::IssuerConfig config;
  if (!find(options, config, console)) return Exit::configuration;
  Result<IssuerKeys> keys = directory_of(config).load();
  if (!keys) return report_error(keys.error(), options, console);
  const WallTime now = SystemClock().wall();
  const std::optional<WallTime> next = keys->ring.next_change(now, config.options.rotation);
  const auto made = issuer::Issuer::make(config.options, std::move(keys->ring), std::move(keys->keys));
  if (!made) return report_error(made.error(), options, console);
  std::vector<std::string> written;
  for (const issuer::Document& document : (*made)->documents(now)) {
    Result<std::string> path = write_document(options.out, document);
    if (!path) {
      return report({.what = std::string(path.error().detail()),
                     .why = {},
                     .code = info(path.error().code()).id,
                     .fix = "name a directory that you may write to"},
                    Exit::runtime, options.format, console);
    }
    written.push_back(std::move(*path));
  }
  std::string text;
  if (options.format == Format::json) {
    JsonWriter json(text);
    json.begin_object();
    json.field("url", config.options.url);
    json.key("files");
    json.begin_array();
    for (const std::string& path : written) json.value(path);
    json.end_array();
    json.key("next_change");
    next ? json.value(config::format_timestamp(*next)) : json.value_null();
    json.end_object();
    text += "\n";
  } else {
    for (const std::string& path : written) text += visible(path) + "\n";
    if (next) {
      text += fmt::format("the keys change next at {}: export and publish again within {}\n",
                          config::format_timestamp(*next), config::format_duration(config.options.rotation.lead));
    }
  }
  return console.out(text) ? Exit::ok : Exit::runtime;
}

}  // namespace postern::cli
