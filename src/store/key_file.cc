#include "store/key_file.h"

#include <openssl/sha.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <optional>
#include <set>
#include <span>
#include <system_error>
#include <utility>

#include "config/diagnostics.h"
#include "config/secret.h"
#include "config/units.h"
#include "config/yaml.h"

namespace postern::store {
namespace {

using config::Diagnostics;
using config::Entry;
using config::Kind;
using config::Node;
using config::Problem;

// Coarsest clock of a file system that keys are kept on (FAT and old NFS: 2 s).
constexpr Duration kClockTick = std::chrono::seconds(2);

class Reader {
 public:
  explicit Reader(Diagnostics& diagnostics) : diagnostics_(diagnostics) {}

  std::vector<KeyRecord> read(const Node& root) {
    static constexpr std::array<std::string_view, 2> kKeys = {"version", "consumers"};
    if (!is_mapping(root, kKeys)) return {};
    const Node* const version = root.find("version");
    if (!version || !version->is(Kind::integer) || version->as_int() != 1) {
      diagnostics_.error(version ? Problem::bad_value : Problem::missing_key, version ? *version : root,
                         "the file of keys does not say that it has version 1", "start the file with `version: 1`");
      return {};
    }
    const Node* const consumers = root.find("consumers");
    if (!consumers || !consumers->is(Kind::sequence)) {
      diagnostics_.error(consumers ? Problem::wrong_type : Problem::missing_key, consumers ? *consumers : root,
                         "`consumers` must be a list", "write `consumers: []` if there are none");
      return {};
    }
    for (const Node& node : consumers->items()) read_consumer(node);
    return std::move(records_);
  }

 private:
  bool is_mapping(const Node& node, std::span<const std::string_view> keys) {
    if (!node.is(Kind::mapping)) {
      diagnostics_.error(Problem::wrong_type, node, "expected a mapping");
      return false;
    }
    bool known = true;
    for (const Entry& entry : node.entries()) {
      if (std::ranges::find(keys, entry.key) != keys.end()) continue;
      const std::string_view near = config::nearest(entry.key, keys);
      diagnostics_.error(Problem::unknown_key, entry, "unknown key " + config::printable(entry.key),
                         near.empty() ? "" : "did you mean `" + std::string(near) + "`?");
      known = false;
    }
    return known;
  }

  // The text of a required string, "" after an error.
  std::string text_of(const Node& parent, std::string_view key) {
    const Node* const node = parent.find(key);
    if (!node) {
      diagnostics_.error(Problem::missing_key, parent, "`" + std::string(key) + "` is missing");
      return {};
    }
    return text_of(*node);
  }
  std::string text_of(const Node& node) {
    // A number is text here (`id: 42`); a mapping is not.
    if (node.is(Kind::sequence) || node.is(Kind::mapping) || node.is(Kind::null)) {
      diagnostics_.error(Problem::wrong_type, node, "expected text");
      return {};
    }
    return std::string(node.text());
  }

  std::optional<WallTime> time_of(const Node& parent, std::string_view key) {
    const Node* const node = parent.find(key);
    if (!node) return std::nullopt;
    const auto time = config::parse_timestamp(node->text());
    if (!time) {
      diagnostics_.error(Problem::bad_value, *node, config::printable(node->text()) + " is no time",
                         "write it as 2026-12-24T08:00:00Z");
    }
    return time;
  }

  void read_consumer(const Node& node) {
    static constexpr std::array<std::string_view, 4> kKeys = {"id", "name", "metadata", "keys"};
    if (!is_mapping(node, kKeys)) return;
    Consumer consumer;
    consumer.id = text_of(node, "id");
    if (consumer.id.empty()) return;
    if (const Node* const name = node.find("name")) consumer.name = text_of(*name);
    if (const Node* const metadata = node.find("metadata")) {
      if (!metadata->is(Kind::mapping)) {
        diagnostics_.error(Problem::wrong_type, *metadata, "`metadata` must be a mapping");
        return;
      }
      for (const Entry& entry : metadata->entries()) {
        consumer.metadata.push_back({std::string(entry.key), text_of(entry.value)});
      }
    }
    if (const std::string wrong = normalise(consumer); !wrong.empty()) {
      diagnostics_.error(Problem::bad_value, node, wrong);
      return;
    }
    if (!consumers_.insert(consumer.id).second) {
      diagnostics_.error(Problem::duplicate, node, "consumer " + consumer.id + " appears twice",
                         "put all its keys under one entry");
      return;
    }
    const Node* const keys = node.find("keys");
    if (!keys || !keys->is(Kind::sequence)) {
      diagnostics_.error(keys ? Problem::wrong_type : Problem::missing_key, keys ? *keys : node,
                         "`keys` must be a list", "write `keys: []` if there are none");
      return;
    }
    for (const Node& key : keys->items()) read_key(key, consumer);
  }

  void read_key(const Node& node, const Consumer& consumer) {
    static constexpr std::array<std::string_view, 5> kKeys = {"id", "sha256", "created", "expires", "revoked"};
    if (!is_mapping(node, kKeys)) return;
    KeyRecord record;
    record.key_id = text_of(node, "id");
    if (is_api_key(record.key_id)) {
      diagnostics_.error(Problem::secret_literal, node, "`id` holds a whole key",
                         "revoke that key; write its first 12 characters here and its SHA-256 under `sha256`");
      return;
    }
    if (!is_key_id(record.key_id)) {
      diagnostics_.error(Problem::bad_value, node, "`id` is no key id", "it is the first 12 characters of the key");
      return;
    }
    const std::string hex = text_of(node, "sha256");
    const auto hash = key_hash_from_hex(hex);
    if (!hash || *hash == KeyHash{}) {
      // The text is not repeated: it may be the key itself.
      diagnostics_.error(Problem::bad_value, node, "`sha256` of key " + record.key_id + " is no hash",
                         "64 lower-case hexadecimal digits, in quotes; `postern keys create` prints them");
      return;
    }
    record.hash = *hash;
    record.created = time_of(node, "created").value_or(WallTime{});
    record.expires = time_of(node, "expires");
    record.revoked = time_of(node, "revoked");
    if (!keys_.insert(record.key_id).second) {
      diagnostics_.error(Problem::duplicate, node, "key " + record.key_id + " appears twice");
      return;
    }
    record.consumer = consumer;
    records_.push_back(std::move(record));
  }

  Diagnostics& diagnostics_;
  std::vector<KeyRecord> records_;
  std::set<std::string> consumers_;
  std::set<std::string> keys_;
};

// A double-quoted YAML scalar, which is a JSON string too.
std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out.push_back('\\');
    out.push_back(c);
  }
  return out + "\"";
}

std::int64_t nanoseconds(const timespec& time) noexcept {
  return static_cast<std::int64_t>(time.tv_sec) * 1'000'000'000 + time.tv_nsec;
}

}  // namespace

std::vector<KeyRecord> parse_key_file(const std::string& file, std::string_view text, Diagnostics& diagnostics) {
  const auto document = config::read_document(file, text, diagnostics);
  if (!document) return {};
  diagnostics.set_root(&document->root());
  std::vector<KeyRecord> records = Reader(diagnostics).read(document->root());
  diagnostics.set_root(nullptr);
  if (diagnostics.has_errors()) records.clear();
  return records;
}

std::optional<std::string> read_content(const std::string& file, Diagnostics& diagnostics) {
  auto outcome = config::DiskFileReader().read(file, config::kMaxFileBytes);
  if (!outcome.content) {
    diagnostics.error(Problem::unreadable, config::Position{}, "cannot read the file: " + outcome.problem);
    return std::nullopt;
  }
  if (outcome.writable_by_others()) {
    diagnostics.error(Problem::writable_by_others, config::Position{}, "others than its owner may write this file",
                      "chmod go-w " + file);
    return std::nullopt;
  }
  return std::move(outcome.content);
}

std::vector<KeyRecord> read_key_file(const std::string& file, Diagnostics& diagnostics) {
  const std::optional<std::string> content = read_content(file, diagnostics);
  return content ? parse_key_file(file, *content, diagnostics) : std::vector<KeyRecord>();
}

std::string format_key_entry(const KeyRecord& record) {
  std::string out = "  - id: " + quoted(record.consumer.id) + "\n    name: " + quoted(record.consumer.name) + "\n";
  if (!record.consumer.metadata.empty()) {
    out += "    metadata:\n";
    for (const Metadata& entry : record.consumer.metadata) {
      out += "      " + quoted(entry.name) + ": " + quoted(entry.value) + "\n";
    }
  }
  out += "    keys:\n      - id: " + record.key_id + "\n        sha256: \"" + to_hex(record.hash) + "\"\n";
  out += "        created: " + config::format_timestamp(record.created) + "\n";
  if (record.expires) out += "        expires: " + config::format_timestamp(*record.expires) + "\n";
  if (record.revoked) out += "        revoked: " + config::format_timestamp(*record.revoked) + "\n";
  return out;
}

Result<FileStamp> stamp_of(const std::string& path) {
  struct stat status{};
  if (::stat(path.c_str(), &status) != 0) {
    return fail(Code::store_unavailable, Side::gateway, path + ": " + std::generic_category().message(errno));
  }
  return FileStamp{status.st_dev, status.st_ino, status.st_size, nanoseconds(status.st_mtim),
                   nanoseconds(status.st_ctim)};
}

Result<KeyFile::Change> KeyFile::refresh(WallTime now) {
  // The stamp comes first: what is written while we read gives a different one next time.
  auto stamp = stamp_of(path_);
  if (!stamp) {
    good_ = false;
    return std::unexpected(std::move(stamp.error()));
  }
  if (good_ && settled_ && *stamp == stamp_) return Change::none;
  const bool was_good = std::exchange(good_, false);
  Diagnostics diagnostics(path_);
  const std::optional<std::string> content = read_content(path_, diagnostics);
  Digest digest{};
  if (content) ::SHA256(reinterpret_cast<const unsigned char*>(content->data()), content->size(), digest.data());
  // A young file is looked into again and again; reading it is cheap, parsing thousands of keys is not.
  const bool same = was_good && content && digest == digest_;
  std::vector<KeyRecord> records;
  if (content && !same) records = parse_key_file(path_, *content, diagnostics);
  if (diagnostics.has_errors()) {
    std::string text = diagnostics.to_text();
    return fail(Code::store_unavailable, Side::gateway, "key file is not valid: " + std::move(text));
  }
  stamp_ = *stamp;
  const std::int64_t youngest = std::max(stamp_.modified, stamp_.changed);
  const std::int64_t read_at = now.time_since_epoch().count();
  // A stamp from the future never settles: then the file is simply read each time.
  settled_ = read_at - youngest >= kClockTick.count();
  good_ = true;
  if (same) return Change::none;
  digest_ = digest;
  records_ = std::move(records);
  return Change::read;
}

}  // namespace postern::store
