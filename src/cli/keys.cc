// postern keys: works on the key database itself; a running gateway sees the change at its next look.
#include <fmt/format.h>
#include <sys/stat.h>

#include <filesystem>

#include "base/json_writer.h"
#include "cli/admin_client.h"
#include "cli/paths.h"
#include "cli/verbs.h"
#include "config/units.h"
#include "store/key_database.h"
#include "store/key_file.h"
#include "store/key_index.h"
#include "store/private_directory.h"

namespace postern::cli {
namespace {

using store::KeyDatabase;
using store::KeyRecord;

Exit report(const Error& error, const Console& console) {
  static_cast<void>(console.error("postern: " + std::string(error.detail()) + "\n"));
  return error.side() == Side::client ? Exit::usage : Exit::runtime;
}

// Where the keys are, and where a gateway may listen that uses them. False after explaining why it is not known.
bool find_database(const KeysOptions& options, ConfigPaths& paths, const Console& console) {
  if (!options.database.empty()) {
    paths.key_database = options.database;
    return true;
  }
  config::Diagnostics diagnostics(options.config);
  if (find_paths(options.config, paths, diagnostics)) return true;
  static_cast<void>(console.error(diagnostics.to_text()));
  return false;
}

// A running gateway would see the change at its next look; asked, it looks at once. Nobody has to be running.
void tell_gateway(const ConfigPaths& paths) {
  if (paths.admin_socket.empty()) return;
  static_cast<void>(ask_admin(paths.admin_socket, "POST", "/keys/refresh", Format::text));
}

std::string_view status_text(const KeyRecord& record, WallTime now) {
  switch (store::status_of(record, now)) {
    case store::KeyStatus::valid: return "valid";
    case store::KeyStatus::expired: return "expired";
    case store::KeyStatus::revoked: return "revoked";
  }
  return "";
}

void write_record(JsonWriter& json, const KeyRecord& record, WallTime now) {
  json.field("key_id", record.key_id);
  json.field("consumer", record.consumer.id);
  json.field("name", record.consumer.name);
  json.key("metadata");
  json.begin_object();
  for (const store::Metadata& item : record.consumer.metadata) json.field(item.name, item.value);
  json.end_object();
  json.field("status", status_text(record, now));
  json.field("created", config::format_timestamp(record.created));
  const auto optional_time = [&](std::string_view key, const std::optional<WallTime>& time) {
    json.key(key);
    if (time) {
      json.value(config::format_timestamp(*time));
    } else {
      json.value_null();
    }
  };
  optional_time("expires", record.expires);
  optional_time("revoked", record.revoked);
}

Result<std::optional<WallTime>> parse_expiry(std::string_view text, WallTime now) {
  if (text.empty()) return std::nullopt;
  if (const auto span = config::parse_duration(text)) return now + *span;
  if (const auto date = config::parse_date(text)) return *date;
  if (const auto time = config::parse_timestamp(text)) return *time;
  return fail(Code::bad_request, Side::client, "--expires takes 90d, 2027-01-01 or 2027-01-01T00:00:00Z");
}

Result<store::Consumer> parse_consumer(const KeysCreateOptions& options) {
  store::Consumer consumer{options.consumer, options.name, {}};
  for (const std::string& item : options.metadata) {
    const std::size_t equals = item.find('=');
    if (equals == std::string::npos) return fail(Code::bad_request, Side::client, "--metadata takes name=value");
    consumer.metadata.push_back({item.substr(0, equals), item.substr(equals + 1)});
  }
  const std::string problem = store::normalise(consumer);
  if (!problem.empty()) return fail(Code::bad_request, Side::client, problem);
  return consumer;
}

// A key that is stored nowhere: its hash goes into a file that somebody else keeps.
Result<KeyDatabase::NewKey> make_unstored(store::Consumer consumer, std::optional<WallTime> expires, WallTime now) {
  Result<config::Secret> key = store::generate_api_key();
  if (!key) return std::unexpected(std::move(key.error()));
  KeyRecord record;
  record.key_id = store::key_id_of(key->reveal());
  record.hash = store::hash_api_key(key->reveal());
  record.consumer = std::move(consumer);
  record.created = now;
  record.expires = expires;
  return KeyDatabase::NewKey{std::move(*key), std::move(record)};
}

Result<KeyDatabase::NewKey> make_stored(const std::string& path, store::Consumer consumer,
                                        std::optional<WallTime> expires, WallTime now) {
  Result<void> directory = store::make_private_directory(std::filesystem::path(path).parent_path());
  if (!directory) return std::unexpected(std::move(directory.error()));
  auto database = KeyDatabase::open(path, KeyDatabase::Missing::create);
  if (!database) return std::unexpected(std::move(database.error()));
  return (*database)->create(std::move(consumer), expires, now);
}

Exit show_new_key(const KeyDatabase::NewKey& made, const KeysCreateOptions& options, WallTime now,
                  const Console& console) {
  std::string text;
  if (options.format == Format::json) {
    JsonWriter json(text);
    json.begin_object();
    json.field("key", made.key.reveal());
    write_record(json, made.record, now);
    json.end_object();
  } else {
    text = made.key.reveal();
  }
  text += "\n";
  // Standard output has the key and nothing else, so that a script can take it.
  if (!console.out(text)) {
    static_cast<void>(console.error("postern: the key could not be shown; revoke " + made.record.key_id + "\n"));
    return Exit::runtime;
  }
  if (options.hashed) {
    static_cast<void>(console.error(store::format_key_entry(made.record)));
  } else if (options.format == Format::text) {
    static_cast<void>(
        console.error("a key for " + made.record.consumer.id + "; it is shown this once, only its hash is stored\n"));
  }
  return Exit::ok;
}

}  // namespace

Exit keys_create(const KeysCreateOptions& options, const Console& console) {
  const WallTime now = SystemClock().wall();
  Result<std::optional<WallTime>> expires = parse_expiry(options.expires, now);
  if (!expires) return report(expires.error(), console);
  Result<store::Consumer> consumer = parse_consumer(options);
  if (!consumer) return report(consumer.error(), console);
  if (*expires && **expires <= now) {
    return report(Error(Code::bad_request, Side::client, "--expires lies in the past"), console);
  }
  ConfigPaths paths;
  if (!options.hashed && !find_database(options, paths, console)) return Exit::configuration;
  const Result<KeyDatabase::NewKey> made = options.hashed
                                               ? make_unstored(std::move(*consumer), *expires, now)
                                               : make_stored(paths.key_database, std::move(*consumer), *expires, now);
  if (!made) return report(made.error(), console);
  tell_gateway(paths);
  return show_new_key(*made, options, now, console);
}

Exit keys_list(const KeysOptions& options, const Console& console) {
  ConfigPaths paths;
  if (!find_database(options, paths, console)) return Exit::configuration;
  std::vector<KeyRecord> records;
  // No database yet is no key yet.
  if (std::error_code ignored; std::filesystem::exists(paths.key_database, ignored)) {
    const auto database = KeyDatabase::open(paths.key_database, KeyDatabase::Missing::fail);
    if (!database) return report(database.error(), console);
    Result<std::vector<KeyRecord>> listed = (*database)->list();
    if (!listed) return report(listed.error(), console);
    records = std::move(*listed);
  }
  const WallTime now = SystemClock().wall();
  std::string text;
  if (options.format == Format::json) {
    JsonWriter json(text);
    json.begin_object();
    json.key("keys");
    json.begin_array();
    for (const KeyRecord& record : records) {
      json.begin_object();
      write_record(json, record, now);
      json.end_object();
    }
    json.end_array();
    json.end_object();
    text += "\n";
  } else {
    text = fmt::format("{:<14}{:<24}{:<9}{:<22}{}\n", "KEY", "CONSUMER", "STATUS", "CREATED", "EXPIRES");
    for (const KeyRecord& record : records) {
      text += fmt::format("{:<14}{:<24}{:<9}{:<22}{}\n", record.key_id, record.consumer.id, status_text(record, now),
                          config::format_timestamp(record.created),
                          record.expires ? config::format_timestamp(*record.expires) : "never");
    }
  }
  return console.out(text) ? Exit::ok : Exit::runtime;
}

Exit keys_revoke(const KeysRevokeOptions& options, const Console& console) {
  if (!store::is_key_id(options.key_id)) {
    const bool whole = store::is_api_key(options.key_id);
    return report(
        Error(Code::bad_request, Side::client,
              whole ? "that is a whole key: give only its first 12 characters, arguments can be seen by others"
                    : "a key id is \"pst_\" and 8 letters or digits; `postern keys list` shows them"),
        console);
  }
  ConfigPaths paths;
  if (!find_database(options, paths, console)) return Exit::configuration;
  const auto database = KeyDatabase::open(paths.key_database, KeyDatabase::Missing::fail);
  if (!database) return report(database.error(), console);
  const Result<KeyDatabase::Revoked> revoked = (*database)->revoke(options.key_id, SystemClock().wall());
  if (!revoked) return report(revoked.error(), console);
  const auto answer = [&](std::string_view outcome, std::string_view text) {
    if (options.format == Format::text) return console.out(options.key_id + std::string(text) + "\n");
    std::string body;
    JsonWriter json(body);
    json.begin_object();
    json.field("key_id", options.key_id);
    json.field("outcome", outcome);
    json.end_object();
    return console.out(body + "\n");
  };
  tell_gateway(paths);
  switch (*revoked) {
    case KeyDatabase::Revoked::now: return answer("revoked", " is revoked") ? Exit::ok : Exit::runtime;
    case KeyDatabase::Revoked::before:
      return answer("revoked_before", " was revoked before") ? Exit::ok : Exit::runtime;
    case KeyDatabase::Revoked::unknown_key: break;
  }
  static_cast<void>(console.error("postern: the database has no key " + options.key_id +
                                  "\n  fix: a key that stands in a file of hashed keys is revoked there\n"));
  return Exit::runtime;
}

}  // namespace postern::cli
