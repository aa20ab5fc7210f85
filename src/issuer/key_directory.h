// The issuer's keys in a directory, and how they are kept there.
//
//   keys.json    which keys there are, for what, since when they are published and from when on they sign
//   KID.pem      the private key of that kid (PKCS #8, 0600); kid is its RFC 7638 thumbprint
//   lock         held by whoever makes or reads the above (DirectoryLock)
//   making       there while the first set is being made
//
// A set is whole or it is refused: a list that cannot be read, a key that is missing, does not fit its kid or can be
// read by others is an error, and never a reason to make new keys, which no verifier knows. Several gateways share the
// issuer by sharing the directory, and only so; of two that start at the same time, one makes the keys.
//
// Every change is one rename of keys.json. A key is on disk before the list names it, and is removed after the list has
// stopped to; so whoever is interrupted leaves the old set or the new one, and files beside it that nobody names, which
// the next change removes.
//
// Synchronous: for the start of the process, the command line and a thread off the loops (an RSA key takes up to a
// second). Errors are Code::io_failed, Side::gateway; their detail names the file and what to do, never a key.
#pragma once

#include <chrono>
#include <compare>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "issuer/issuer.h"
#include "issuer/key_ring.h"
#include "jose/key.h"
#include "platform/clock.h"

namespace postern::issuer {

// Where a gateway has its issuer's keys.
[[nodiscard]] std::string key_directory(std::string_view state_directory);

// Which keys.json it was: another one after every change. Compared once a second, read without a lock.
struct KeyStamp {
  std::uint64_t device = 0;
  std::uint64_t file = 0;
  std::int64_t bytes = 0;
  std::int64_t written_s = 0;
  std::int64_t written_ns = 0;
  auto operator<=>(const KeyStamp&) const = default;
};

// What is in the directory, ready for Issuer::make().
struct IssuerKeys {
  KeyRing ring;
  std::vector<IssuerKey> keys;  // as in the ring, one for each entry
  KeyStamp stamp;
  // Why something that is due could not be done, as on a read-only copy: the keys are good and grow older. "": all is
  // done.
  std::string overdue = {};
};

// The list, keys.json. Pure functions: {"version":1,"keys":[{"kid","algorithm","published","signs_from"}]}, times in
// seconds since 1970. Strict: a member that is not known is an error, since what it says would be lost with the next
// change. Errors have no path in their detail.
[[nodiscard]] std::string to_key_list(const KeyRing& ring);
[[nodiscard]] Result<KeyRing> parse_key_list(std::string_view json);

// A new key, whose kid can stand anywhere on a command line: it does not begin with "-".
[[nodiscard]] Result<jose::PrivateKey> generate_key(jose::Algorithm algorithm);

class KeyDirectory {
 public:
  struct Options {
    std::string path;
    std::vector<jose::Algorithm> algorithms = {jose::Algorithm::RS256};  // for which there has to be a key
    RotationTimes rotation = {};
    Duration max_wait = std::chrono::seconds(30);  // for the lock: somebody may be making RSA keys
    // Whether open() makes keys where there are none: for a start. While a gateway runs, a list that is not there any
    // more is one that was lost, or a mount that has gone: new keys would be known to nobody.
    bool makes_first = true;
    // Not empty: these files are the keys (load_key_files()), and `path` is not looked at. Nothing is made, rotated or
    // removed then: that is for whoever keeps them.
    std::vector<std::string> files = {};
  };

  explicit KeyDirectory(Options options) : options_(std::move(options)) {}
  virtual ~KeyDirectory() = default;

  // What is there, and nothing is changed. Fails if there are no keys.
  [[nodiscard]] Result<IssuerKeys> load() const;
  // For a gateway, at its start and whenever Issuer::next_change() has come: makes the first keys and successors that
  // are due, and removes what is gone. Takes the lock for a change only if there is something to do.
  [[nodiscard]] Result<IssuerKeys> open(WallTime now) const;
  // A successor for `algorithm`, or for each of the options. With KeyRing::When::after_lead it fails if one is waiting
  // already. At once, what was waiting is removed: it has signed nothing, and lay beside the key that may be stolen.
  [[nodiscard]] Result<IssuerKeys> rotate(std::optional<jose::Algorithm> algorithm, KeyRing::When when,
                                          WallTime now) const;
  // Takes away a key, and with it whatever it has signed. Not the one that signs for an algorithm of the options.
  [[nodiscard]] Result<IssuerKeys> remove(std::string_view kid, WallTime now) const;

  // That of keys.json as it is now, or of the files; nullopt if there is none or it cannot be asked for.
  [[nodiscard]] std::optional<KeyStamp> stamp() const;
  [[nodiscard]] const Options& options() const noexcept [[clang::lifetimebound]] { return options_; }

 protected:
  // The only ways in which files of the directory change. Tests interrupt them.
  [[nodiscard]] virtual Result<void> write(std::string_view name, std::string_view content, std::uint32_t mode) const;
  [[nodiscard]] virtual Result<void> erase(std::string_view name) const;

 private:
  struct Survey;
  [[nodiscard]] Result<IssuerKeys> load_files() const;
  [[nodiscard]] std::string in(std::string_view name) const;
  [[nodiscard]] Result<void> check() const;
  [[nodiscard]] Result<void> prepare() const;
  [[nodiscard]] Result<Survey> survey() const;
  [[nodiscard]] Result<IssuerKeys> read(const Survey& seen) const;
  [[nodiscard]] Result<IssuerKey> read_key(const KeyRing::Entry& entry) const;
  [[nodiscard]] bool is_due(const Survey& seen, const KeyRing& ring, WallTime now) const;
  [[nodiscard]] Result<void> add(KeyRing& ring, jose::Algorithm algorithm, KeyRing::When when, WallTime now) const;
  [[nodiscard]] Result<void> sweep(const KeyRing& ring) const;
  [[nodiscard]] Result<void> make_first(WallTime now) const;
  [[nodiscard]] Result<IssuerKeys> open_locked(WallTime now) const;
  // Under the lock: what `change_ring` has put into the list, read again.
  template <typename Change>
  [[nodiscard]] Result<IssuerKeys> change(const Change& change_ring) const;

  Options options_;
};

// Keys that somebody else keeps and rotates, as files. The first one for an algorithm signs, others for it are only
// published: one that is to sign is added, and moved to the front when verifiers know it. Each file is for the one of
// `algorithms` that its key can be used for. Errors: a file that is no key, fits none or several of them, is there
// twice or can be read by others; an algorithm without a key.
[[nodiscard]] Result<IssuerKeys> load_key_files(std::span<const std::string> paths,
                                                std::span<const jose::Algorithm> algorithms);

}  // namespace postern::issuer
