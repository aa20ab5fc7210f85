#include "issuer/key_directory.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <system_error>
#include <utility>

#include "base/json_writer.h"
#include "base/strings.h"
#include "jose/json.h"
#include "platform/directory_lock.h"
#include "platform/private_directory.h"
#include "platform/whole_file.h"

namespace postern::issuer {
namespace {

constexpr std::string_view kList = "keys.json";
constexpr std::string_view kMaking = "making";
constexpr std::string_view kSuffix = ".pem";
constexpr std::size_t kThumbprint = 43;      // characters of SHA-256 in base64url
constexpr std::size_t kFreshSuffix = 7;      // of a file that write_whole_file() has not renamed yet: ".XXXXXX"
constexpr std::size_t kMaxList = 16 * 1024;  // nine keys are 2 KiB
constexpr std::int64_t kVersion = 1;
constexpr std::uint32_t kMode = 0600;
// The beginning of 2250: WallTime can be calculated with up to there, and nothing of ours is later.
constexpr std::int64_t kLatest = 8'835'984'000;

std::unexpected<Error> refused(std::string what) { return fail(Code::io_failed, Side::gateway, std::move(what)); }
std::unexpected<Error> refused(const std::string& path, std::string_view what) {
  return refused(path + ": " + std::string(what));
}
std::unexpected<Error> refused(const std::string& path, int error) {
  return refused(path, std::generic_category().message(error));
}
std::unexpected<Error> wrong_list(std::string_view what) { return refused("list of keys: " + std::string(what)); }

// A kid is part of a file's name, so nothing else is one.
bool is_thumbprint(std::string_view kid) noexcept {
  return kid.size() == kThumbprint &&
         std::ranges::all_of(kid, [](char c) { return is_alpha(c) || is_digit(c) || c == '-' || c == '_'; });
}
bool is_key_file(std::string_view name) noexcept {
  return name.ends_with(kSuffix) && is_thumbprint(name.substr(0, name.size() - kSuffix.size()));
}
// What a write that was interrupted has left.
bool is_fresh_file(std::string_view name) noexcept {
  if (name.size() <= kFreshSuffix || name[name.size() - kFreshSuffix] != '.') return false;
  name.remove_suffix(kFreshSuffix);
  return name == kList || name == kMaking || is_key_file(name);
}
std::optional<KeyStamp> stamp_of(const std::string& path) {
  struct stat status{};
  if (::stat(path.c_str(), &status) != 0) return std::nullopt;
  return KeyStamp{status.st_dev, status.st_ino, status.st_size, status.st_mtim.tv_sec, status.st_mtim.tv_nsec};
}

std::unexpected<Error> kept_elsewhere() {
  return refused(
      "the keys of this issuer are files that somebody else keeps: add one to `issuer: {keys: [...]}`, move it to the "
      "front when verifiers know it, and remove the old one when its last token has ended");
}

std::unexpected<Error> gone(const std::string& path) {
  return refused(path, "the list of keys, keys.json, is not there any more: bring the directory back as it was");
}

std::string file_of(std::string_view kid) { return std::string(kid) + std::string(kSuffix); }

std::int64_t seconds_of(WallTime when) {
  return std::chrono::floor<std::chrono::seconds>(when.time_since_epoch()).count();
}

std::optional<WallTime> time_in(const jose::Json& entry, std::string_view name) {
  const jose::Json* const value = entry.find(name);
  const std::optional<std::int64_t> seconds = value ? value->if_int64() : std::nullopt;
  if (!seconds || *seconds < 0 || *seconds > kLatest) return std::nullopt;
  return WallTime(std::chrono::seconds(*seconds));
}

Result<KeyRing::Entry> entry_in(const jose::Json& json, std::size_t number) {
  const std::string which = "key " + std::to_string(number) + ": ";
  const jose::Json::Object* const members = json.if_object();
  if (!members) return wrong_list(which + "not an object");
  const std::string* const kid = json.find_string("kid");
  if (!kid || !is_thumbprint(*kid)) return wrong_list(which + "\"kid\" is no thumbprint");
  const std::string* const algorithm = json.find_string("algorithm");
  const auto known = algorithm ? jose::algorithm_by_name(*algorithm) : std::nullopt;
  if (!known) return wrong_list(which + "\"algorithm\" is not known here");
  const std::optional<WallTime> published = time_in(json, "published");
  const std::optional<WallTime> signs_from = time_in(json, "signs_from");
  if (!published || !signs_from) return wrong_list(which + "\"published\" or \"signs_from\" is no time");
  if (members->size() != 4) return wrong_list(which + "it says more than this version knows");
  return KeyRing::Entry{*kid, *known, *published, *signs_from};
}

// A private key's text; it is wiped when it has been parsed.
Result<jose::SecretText> read_secret(const std::string& path) {
  Result<std::optional<WholeFile>> file = read_whole_file(path, jose::kMaxKeyText);
  if (!file) return std::unexpected(std::move(file.error()));
  if (!*file) return refused(path, "the key is missing; put it back from where you keep copies");
  jose::SecretText text(std::move((*file)->content));
  if (((*file)->mode & 0077U) != 0) {
    return refused(path, "others than its owner may read this key: if nobody can have done so, chmod 600 " + path);
  }
  return text;
}

std::string names_of(std::span<const jose::Algorithm> algorithms) {
  std::string out;
  for (const jose::Algorithm algorithm : algorithms) {
    out += (out.empty() ? "" : ", ") + std::string(name_of(algorithm));
  }
  return out;
}

// Whether each of them can sign.
bool serves(const KeyRing& ring, std::span<const jose::Algorithm> algorithms, WallTime now) {
  return std::ranges::all_of(algorithms, [&](jose::Algorithm algorithm) { return ring.signing(algorithm, now); });
}

}  // namespace

std::string key_directory(std::string_view state_directory) { return std::string(state_directory) + "/issuer"; }

std::string to_key_list(const KeyRing& ring) {
  std::string out;
  JsonWriter json(out);
  json.begin_object();
  json.field("version", kVersion);
  json.key("keys");
  json.begin_array();
  for (const KeyRing::Entry& entry : ring.entries()) {
    json.begin_object();
    json.field("kid", entry.kid);
    json.field("algorithm", name_of(entry.algorithm));
    json.field("published", seconds_of(entry.published));
    json.field("signs_from", seconds_of(entry.signs_from));
    json.end_object();
  }
  json.end_array();
  json.end_object();
  return out + "\n";
}

Result<KeyRing> parse_key_list(std::string_view json) {
  const auto list = jose::Json::parse(json, {.bytes = kMaxList, .depth = 4, .values = 256});
  if (!list) return wrong_list(list.error().to_string());
  const jose::Json* const version = list->find("version");
  if (!version || version->if_int64() != kVersion) return wrong_list("its version is not known here");
  const jose::Json* const keys = list->find("keys");
  const jose::Json::Array* const items = keys ? keys->if_array() : nullptr;
  if (!items) return wrong_list("\"keys\" is no list");
  if (list->if_object()->size() != 2) return wrong_list("it says more than this version knows");
  std::vector<KeyRing::Entry> entries;
  for (const jose::Json& item : *items) {
    Result<KeyRing::Entry> entry = entry_in(item, entries.size() + 1);
    if (!entry) return std::unexpected(std::move(entry.error()));
    entries.push_back(std::move(*entry));
  }
  return KeyRing::of(std::move(entries));
}

Result<jose::PrivateKey> generate_key(jose::Algorithm algorithm) {
  Result<jose::PrivateKey> key = jose::PrivateKey::generate(algorithm);
  // One in 64.
  while (key && key->kid().starts_with('-')) key = jose::PrivateKey::generate(algorithm);
  return key;
}

// What lies in the directory, by name.
struct KeyDirectory::Survey {
  bool list = false;
  bool making = false;
  std::vector<std::string> keys;   // "KID.pem"
  std::vector<std::string> fresh;  // of writes that did not end
};

std::string KeyDirectory::in(std::string_view name) const { return options_.path + "/" + std::string(name); }

Result<void> KeyDirectory::write(std::string_view name, std::string_view content, std::uint32_t mode) const {
  return write_whole_file(in(name), content, mode);
}

Result<void> KeyDirectory::erase(std::string_view name) const { return remove_file(in(name)); }

Result<void> KeyDirectory::check() const {
  struct stat status{};
  if (::stat(options_.path.c_str(), &status) != 0) {
    if (errno == ENOENT) return refused(options_.path, "there are no keys yet; a gateway makes them at its start");
    return refused(options_.path, errno);
  }
  if (!S_ISDIR(status.st_mode)) return refused(options_.path, ENOTDIR);
  if ((status.st_mode & 0022U) == 0) return {};
  return refused(options_.path,
                 "others than its owner may write there, and replace a key: chmod go-w " + options_.path);
}

Result<void> KeyDirectory::prepare() const {
  const Result<void> made = make_private_directory(options_.path);
  if (!made) return refused(std::string(made.error().detail()));
  return check();
}

Result<KeyDirectory::Survey> KeyDirectory::survey() const {
  Survey seen;
  std::error_code error;
  std::filesystem::directory_iterator it(options_.path, error);
  for (; !error && it != std::filesystem::directory_iterator(); it.increment(error)) {
    std::string name = it->path().filename().string();
    if (name == kList) seen.list = true;
    if (name == kMaking) seen.making = true;
    if (is_fresh_file(name)) {
      seen.fresh.push_back(std::move(name));
    } else if (is_key_file(name)) {
      seen.keys.push_back(std::move(name));
    }
  }
  if (error) return refused(options_.path, error.message());
  return seen;
}

Result<IssuerKey> KeyDirectory::read_key(const KeyRing::Entry& entry) const {
  const std::string path = in(file_of(entry.kid));
  const Result<jose::SecretText> text = read_secret(path);
  if (!text) return refused(std::string(text.error().detail()));
  Result<jose::PrivateKey> key = jose::PrivateKey::from_pem(text->reveal(), entry.algorithm);
  if (!key) return refused(path, key.error().detail());
  if (key->kid() != entry.kid) return refused(path, "it holds another key than the one of that name");
  return IssuerKey{entry, std::make_shared<const jose::PrivateKey>(std::move(*key))};
}

Result<IssuerKeys> KeyDirectory::read(const Survey& seen) const {
  if (!seen.list) {
    if (seen.making) {
      return refused(options_.path, "making the first keys was interrupted; a gateway makes them anew at its start");
    }
    if (seen.keys.empty()) return refused(options_.path, "there are no keys yet; a gateway makes them at its start");
    return refused(in(kList),
                   "it is missing beside keys; put it back from where you keep copies, or move the whole directory "
                   "away if nobody trusts this issuer");
  }
  IssuerKeys out;
  const std::optional<KeyStamp> stamp = this->stamp();
  const std::string path = in(kList);
  const Result<std::optional<WholeFile>> file = read_whole_file(path, kMaxList);
  if (!file) return refused(std::string(file.error().detail()));
  if (!stamp || !*file) return refused(path, "it cannot be read");
  if (((*file)->mode & 0022U) != 0) return refused(path, "others than its owner may write it: chmod go-w " + path);
  Result<KeyRing> ring = parse_key_list((*file)->content);
  if (!ring) return refused(path, ring.error().detail());
  out.ring = std::move(*ring);
  out.stamp = *stamp;
  for (const KeyRing::Entry& entry : out.ring.entries()) {
    Result<IssuerKey> key = read_key(entry);
    if (!key) return std::unexpected(std::move(key.error()));
    out.keys.push_back(std::move(*key));
  }
  if (out.keys.empty()) return refused(path, "there is no key in it; put it back from where you keep copies");
  return out;
}

bool KeyDirectory::is_due(const Survey& seen, const KeyRing& ring, WallTime now) const {
  if (seen.making || !seen.fresh.empty() || seen.keys.size() != ring.entries().size()) return true;
  return std::ranges::any_of(options_.algorithms,
                             [&](jose::Algorithm it) { return ring.wants_key(it, now, options_.rotation); }) ||
         std::ranges::any_of(ring.entries(), [&](const KeyRing::Entry& entry) {
           return ring.role(entry, now, options_.rotation) == KeyRing::Role::gone;
         });
}

std::optional<KeyStamp> KeyDirectory::stamp() const {
  if (options_.files.empty()) return stamp_of(in(kList));
  // One for all of them: it only has to differ when one of them does.
  KeyStamp all;
  for (const std::string& file : options_.files) {
    const std::optional<KeyStamp> one = stamp_of(file);
    if (!one) return std::nullopt;
    all.device = all.device * 31 + one->device;
    all.file = all.file * 31 + one->file;
    all.bytes += one->bytes;
    all.written_s = std::max(all.written_s, one->written_s);
    all.written_ns = (all.written_ns * 31 + one->written_ns + one->written_s) % 1'000'000'007;
  }
  return all;
}

Result<IssuerKeys> KeyDirectory::load_files() const {
  // Before they are read: what is written meanwhile is seen by the next look.
  const std::optional<KeyStamp> before = stamp();
  Result<IssuerKeys> keys = load_key_files(options_.files, options_.algorithms);
  if (keys) keys->stamp = before.value_or(KeyStamp());
  return keys;
}

Result<IssuerKeys> KeyDirectory::load() const {
  if (!options_.files.empty()) return load_files();
  if (Result<void> good = check(); !good) return std::unexpected(std::move(good.error()));
  const Result<DirectoryLock> lock = DirectoryLock::take(options_.path, DirectoryLock::Mode::read, options_.max_wait);
  if (!lock) return refused(std::string(lock.error().detail()));
  const Result<Survey> seen = survey();
  if (!seen) return refused(std::string(seen.error().detail()));
  return read(*seen);
}

// Generates, keeps and enters a key.
Result<void> KeyDirectory::add(KeyRing& ring, jose::Algorithm algorithm, KeyRing::When when, WallTime now) const {
  const Result<jose::PrivateKey> key = generate_key(algorithm);
  if (!key) return refused(options_.path, "no key can be made: " + std::string(key.error().detail()));
  // As precise as it is kept, so that every replica calculates with the same times.
  const WallTime whole = std::chrono::floor<std::chrono::seconds>(now);
  Result<void> done = ring.add(key->kid(), algorithm, whole, options_.rotation, when);
  if (!done) return refused(options_.path, done.error().detail());
  const Result<jose::SecretText> pem = key->to_pem();
  if (!pem) return refused(options_.path, "no key can be written: " + std::string(pem.error().detail()));
  return write(file_of(key->kid()), pem->reveal(), kMode);
}

// What nobody names.
Result<void> KeyDirectory::sweep(const KeyRing& ring) const {
  const Result<Survey> seen = survey();
  if (!seen) return refused(std::string(seen.error().detail()));
  Result<void> done;
  for (const std::string& name : seen->fresh) {
    if (done) done = erase(name);
  }
  for (const std::string& name : seen->keys) {
    const bool named =
        std::ranges::any_of(ring.entries(), [&](const KeyRing::Entry& entry) { return file_of(entry.kid) == name; });
    if (done && !named) done = erase(name);
  }
  return done;
}

// Under the lock, where there are none. Until the list is there, whatever a predecessor has made is unknown to
// everybody; so it is made anew.
Result<void> KeyDirectory::make_first(WallTime now) const {
  Result<void> done = write(kMaking, "", kMode);
  if (done) done = sweep({});
  KeyRing ring;
  for (const jose::Algorithm algorithm : options_.algorithms) {
    if (done && !ring.signing(algorithm, now)) done = add(ring, algorithm, KeyRing::When::at_once, now);
  }
  if (done) done = write(kList, to_key_list(ring), kMode);
  return done;
}

template <typename Change>
Result<IssuerKeys> KeyDirectory::change(const Change& change_ring) const {
  const Result<DirectoryLock> lock = DirectoryLock::take(options_.path, DirectoryLock::Mode::change, options_.max_wait);
  if (!lock) return refused(std::string(lock.error().detail()));
  Result<Survey> seen = survey();
  if (!seen) return refused(std::string(seen.error().detail()));
  Result<KeyRing> changed = change_ring(*seen);
  if (!changed) return std::unexpected(std::move(changed.error()));
  // The list is in force; the rest is what nobody names.
  Result<void> done = sweep(*changed);
  if (done && seen->making) done = erase(kMaking);
  if (done) seen = survey();
  if (!done || !seen) return refused(std::string((done ? seen.error() : done.error()).detail()));
  return read(*seen);
}

Result<IssuerKeys> KeyDirectory::open_locked(WallTime now) const {
  return change([&](Survey& seen) -> Result<KeyRing> {
    if (!seen.list && !options_.makes_first) return gone(options_.path);
    if (!seen.list && (seen.making || seen.keys.empty())) {
      seen.making = true;
      const Result<void> made = make_first(now);
      if (!made) return refused(std::string(made.error().detail()));
      seen.list = true;
    }
    Result<IssuerKeys> keys = read(seen);
    if (!keys) return std::unexpected(std::move(keys.error()));
    KeyRing ring = keys->ring;
    ring.remove_gone(now, options_.rotation);
    for (const jose::Algorithm algorithm : options_.algorithms) {
      if (!ring.wants_key(algorithm, now, options_.rotation)) continue;
      const Result<void> added = add(ring, algorithm, KeyRing::When::after_lead, now);
      if (!added) return refused(std::string(added.error().detail()));
    }
    if (ring != keys->ring) {
      const Result<void> written = write(kList, to_key_list(ring), kMode);
      if (!written) return refused(std::string(written.error().detail()));
    }
    return ring;
  });
}

Result<IssuerKeys> KeyDirectory::open(WallTime now) const {
  if (!options_.files.empty()) return load_files();
  if (!options_.makes_first && !stamp()) return gone(options_.path);
  // Most of the time nothing has to be changed, and the directory may be one that cannot be.
  std::optional<IssuerKeys> there;
  if (stamp()) {
    if (Result<void> good = check(); !good) return std::unexpected(std::move(good.error()));
    const Result<DirectoryLock> lock = DirectoryLock::take(options_.path, DirectoryLock::Mode::read, options_.max_wait);
    if (!lock) return refused(std::string(lock.error().detail()));
    const Result<Survey> seen = survey();
    if (!seen) return refused(std::string(seen.error().detail()));
    Result<IssuerKeys> keys = read(*seen);
    if (!keys || !is_due(*seen, keys->ring, now)) return keys;
    there = std::move(*keys);
  } else if (Result<void> ready = prepare(); !ready) {
    return std::unexpected(std::move(ready.error()));
  }
  Result<IssuerKeys> keys = open_locked(now);
  if (keys || !there || !serves(there->ring, options_.algorithms, now)) return keys;
  there->overdue = keys.error().detail();
  return std::move(*there);
}

Result<IssuerKeys> KeyDirectory::rotate(std::optional<jose::Algorithm> algorithm, KeyRing::When when,
                                        WallTime now) const {
  if (!options_.files.empty()) return kept_elsewhere();
  if (Result<void> good = check(); !good) return std::unexpected(std::move(good.error()));
  std::vector<jose::Algorithm> which = options_.algorithms;
  if (algorithm && std::ranges::find(which, *algorithm) == which.end()) {
    return refused("the issuer does not sign with " + std::string(name_of(*algorithm)) + ", but with " +
                   names_of(which));
  }
  if (algorithm) which = {*algorithm};
  return change([&](Survey& seen) -> Result<KeyRing> {
    Result<IssuerKeys> keys = read(seen);
    if (!keys) return std::unexpected(std::move(keys.error()));
    KeyRing ring = keys->ring;
    ring.remove_gone(now, options_.rotation);
    for (const KeyRing::Entry& entry : keys->ring.entries()) {
      if (std::ranges::find(which, entry.algorithm) == which.end() ||
          ring.role(entry, now, options_.rotation) != KeyRing::Role::next) {
        continue;
      }
      if (when == KeyRing::When::after_lead) {
        return refused(options_.path, std::string(name_of(entry.algorithm)) +
                                          " has a successor already that waits to sign: " + entry.kid);
      }
      ring.remove(entry.kid);
    }
    for (const jose::Algorithm it : which) {
      const Result<void> added = add(ring, it, when, now);
      if (!added) return refused(std::string(added.error().detail()));
    }
    const Result<void> written = write(kList, to_key_list(ring), kMode);
    if (!written) return refused(std::string(written.error().detail()));
    return ring;
  });
}

Result<IssuerKeys> KeyDirectory::remove(std::string_view kid, WallTime now) const {
  if (!options_.files.empty()) return kept_elsewhere();
  if (Result<void> good = check(); !good) return std::unexpected(std::move(good.error()));
  return change([&](Survey& seen) -> Result<KeyRing> {
    Result<IssuerKeys> keys = read(seen);
    if (!keys) return std::unexpected(std::move(keys.error()));
    KeyRing ring = keys->ring;
    for (const jose::Algorithm algorithm : options_.algorithms) {
      const KeyRing::Entry* const signing = ring.signing(algorithm, now);
      if (!signing || signing->kid != kid) continue;
      return refused(options_.path,
                     "this key signs; `postern issuer rotate --now` makes another one sign, and then it "
                     "can be removed");
    }
    if (!ring.remove(kid)) return refused(options_.path, "there is no key of that kid");
    if (ring.entries().empty()) return refused(options_.path, "this is the last key");
    const Result<void> written = write(kList, to_key_list(ring), kMode);
    if (!written) return refused(std::string(written.error().detail()));
    return ring;
  });
}

Result<IssuerKeys> load_key_files(std::span<const std::string> paths, std::span<const jose::Algorithm> algorithms) {
  // Published for ever, and the ones behind the first never begin to sign.
  constexpr WallTime kAlways{};
  constexpr WallTime kNever{std::chrono::seconds(kLatest)};
  std::vector<KeyRing::Entry> entries;
  IssuerKeys out;
  for (const std::string& path : paths) {
    const Result<jose::SecretText> text = read_secret(path);
    if (!text) return refused(std::string(text.error().detail()));
    std::shared_ptr<const jose::PrivateKey> fitting;
    std::string why;
    for (const jose::Algorithm algorithm : algorithms) {
      Result<jose::PrivateKey> key = jose::PrivateKey::from_pem(text->reveal(), algorithm);
      if (!key && why.empty()) why = key.error().detail();
      if (!key) continue;
      if (fitting) return refused(path, "the key fits more than one of " + names_of(algorithms));
      fitting = std::make_shared<const jose::PrivateKey>(std::move(*key));
    }
    if (!fitting) return refused(path, "for none of " + names_of(algorithms) + ": " + why);
    const bool first = std::ranges::none_of(
        entries, [&](const KeyRing::Entry& entry) { return entry.algorithm == fitting->algorithm(); });
    const KeyRing::Entry& entry =
        entries.emplace_back(fitting->kid(), fitting->algorithm(), kAlways, first ? kAlways : kNever);
    out.keys.push_back({entry, std::move(fitting)});
  }
  Result<KeyRing> ring = KeyRing::of(std::move(entries));
  if (!ring) return std::unexpected(std::move(ring.error()));
  for (const jose::Algorithm algorithm : algorithms) {
    if (!ring->signing(algorithm, kAlways)) {
      return refused("keys of the issuer: no file has a key for " + std::string(name_of(algorithm)));
    }
  }
  out.ring = std::move(*ring);
  return out;
}

}  // namespace postern::issuer
