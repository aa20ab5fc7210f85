// postern keys: works on the key database itself; a running gateway sees the change at its next look.
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <system_error>

#include "base/json_writer.h"
#include "base/strings.h"
#include "cli/admin_client.h"
#include "cli/failure.h"
#include "cli/paths.h"
#include "cli/verbs.h"
#include "config/units.h"
#include "platform/private_directory.h"
#include "store/key_database.h"
#include "store/key_file.h"
#include "store/key_index.h"

namespace postern::cli {
namespace {

using store::KeyDatabase;
using store::KeyRecord;

Exit report_error(const Error& error, const KeysOptions& options, const Console& console) {
  Failure failure{std::string(error.detail()), {}, {}, {}};
  if (error.side() == Side::client) return report(failure, Exit::usage, options.format, console);
  failure.code = info(error.code()).id;
  failure.fix = options.database.empty()
                    ? "work as the user that the gateway runs as, or name another database with --database"
                    : "work as the user that the gateway runs as, and see whether --database names the right file";
  return report(failure, Exit::runtime, options.format, console);
}

// Whether there is a database at all. An error if that cannot be known: SQLite would call everything "unable to open".
Result<bool> database_exists(const std::string& path) {
  if (::access(path.c_str(), R_OK) == 0) return true;
  if (errno == ENOENT) return false;
  return fail(Code::store_unavailable, Side::gateway,
              "key database " + path + ": " + std::generic_category().message(errno));
}

// A database that has to be there.
Result<std::unique_ptr<KeyDatabase>> open_existing(const std::string& path) {
  const Result<bool> exists = database_exists(path);
  if (!exists) return fail(exists.error().code(), exists.error().side(), std::string(exists.error().detail()));
  if (!*exists) {
    return fail(Code::store_unavailable, Side::gateway,
                "key database " + path + ": " + std::generic_category().message(ENOENT));
  }
  return KeyDatabase::open(path, KeyDatabase::Missing::fail);
}

// Where the keys are, and where a gateway may listen that uses them. False after explaining why it is not known.
bool find_database(const KeysOptions& options, ConfigPaths& paths, const Console& console) {
  if (!options.database.empty()) {
    paths.key_database = options.database;
    return true;
  }
  config::Diagnostics diagnostics(options.config);
  if (find_paths(options.config, paths, diagnostics)) return true;
  static_cast<void>(
      report(diagnostics, "--database FILE names the key database without the configuration", options.format, console));
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
  Result<void> directory = make_private_directory(std::filesystem::path(path).parent_path());
  if (!directory) return std::unexpected(std::move(directory.error()));
  auto database = KeyDatabase::open(path, KeyDatabase::Missing::create);
  if (!database) return std::unexpected(std::move(database.error()));
  return (*database)->create(std::move(consumer), expires, now);
}

// False if it could not be shown; errno says why.
bool show_new_key(const KeyDatabase::NewKey& made, const KeysCreateOptions& options, WallTime now,
                  const Console& console) {
  std::string text;
  if (options.format == Format::json) {
    JsonWriter json(text);
    json.begin_object();
    json.field("key", made.key.reveal());
    write_record(json, made.record, now);
    if (options.hashed) json.field("sha256", store::to_hex(made.record.hash));
    json.end_object();
  } else {
    text = made.key.reveal();
  }
  text += "\n";
  // Standard output has the key and nothing else, so that a script can take it.
  if (!console.out(text)) return false;
  if (options.hashed) {
    static_cast<void>(console.error(store::format_key_entry(made.record)));
  } else if (options.format == Format::text) {
    static_cast<void>(
        console.error("a key for " + made.record.consumer.id + "; it is shown this once, only its hash is stored\n"));
  }
  return true;
}

// Nobody has seen the key, or only a part of it, so nobody may have it.
Exit withdraw(const KeyDatabase::NewKey& made, int error, const KeysCreateOptions& options, const ConfigPaths& paths,
              const Console& console) {
  Failure failure{"the new key could not be written to standard output: " + std::generic_category().message(error),
                  {},
                  info(Code::io_failed).id,
                  "see where the output goes, and create the key again"};
  if (!options.hashed) {
    const std::string& id = made.record.key_id;
    const auto database = open_existing(paths.key_database);
    const auto revoked = database ? (*database)->revoke(id, SystemClock().wall())
                                  : Result<KeyDatabase::Revoked>(fail(Code::store_unavailable, Side::gateway));
    if (revoked) {
      failure.why = "what is shown once and not seen is of no use, so " + id + " is revoked";
    } else {
      failure.why = "it counts, and could not be revoked";
      failure.fix = "postern keys revoke " + id;
    }
    tell_gateway(paths);
  }
  // JSON would go to standard output, which is what failed.
  return report(failure, Exit::runtime, Format::text, console);
}

}  // namespace

Exit keys_create(const KeysCreateOptions& options, const Console& console) {
  const WallTime now = SystemClock().wall();
  Result<std::optional<WallTime>> expires = parse_expiry(options.expires, now);
  if (!expires) return report_error(expires.error(), options, console);
  Result<store::Consumer> consumer = parse_consumer(options);
  if (!consumer) return report_error(consumer.error(), options, console);
  if (*expires && **expires <= now) {
    return report_error(Error(Code::bad_request, Side::client, "--expires lies in the past"), options, console);
  }
  ConfigPaths paths;
  if (!options.hashed && !find_database(options, paths, console)) return Exit::configuration;
  const Result<KeyDatabase::NewKey> made = options.hashed
                                               ? make_unstored(std::move(*consumer), *expires, now)
                                               : make_stored(paths.key_database, std::move(*consumer), *expires, now);
  if (!made) return report_error(made.error(), options, console);
  tell_gateway(paths);
  if (show_new_key(*made, options, now, console)) return Exit::ok;
  return withdraw(*made, errno, options, paths, console);
}

Exit keys_list(const KeysOptions& options, const Console& console) {
  ConfigPaths paths;
  if (!find_database(options, paths, console)) return Exit::configuration;
  std::vector<KeyRecord> records;
  const Result<bool> exists = database_exists(paths.key_database);
  if (!exists) return report_error(exists.error(), options, console);
  if (*exists || !options.database.empty()) {
    const auto database = open_existing(paths.key_database);
    if (!database) return report_error(database.error(), options, console);
    Result<std::vector<KeyRecord>> listed = (*database)->list();
    if (!listed) return report_error(listed.error(), options, console);
    records = std::move(*listed);
  } else {
    // The gateway makes it when it needs one, `keys create` with the first key.
    static_cast<void>(console.error("there is no key database yet: " + visible(paths.key_database) + "\n"));
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
    return report_error(
        Error(Code::bad_request, Side::client,
              whole ? "that is a whole key: give only its first 12 characters, arguments can be seen by others"
                    : "a key id is \"pst_\" and 8 letters or digits; `postern keys list` shows them"),
        options, console);
  }
  ConfigPaths paths;
  if (!find_database(options, paths, console)) return Exit::configuration;
  const auto database = open_existing(paths.key_database);
  if (!database) return report_error(database.error(), options, console);
  const Result<KeyDatabase::Revoked> revoked = (*database)->revoke(options.key_id, SystemClock().wall());
  if (!revoked) return report_error(revoked.error(), options, console);
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
  return report({.what = "the database " + paths.key_database + " has no key " + options.key_id,
                 .why = {},
                 .code = {},
                 .fix = "`postern keys list` shows them; one that stands in a file of hashed keys is revoked there"},
                Exit::runtime, options.format, console);
}

}  // namespace postern::cli
