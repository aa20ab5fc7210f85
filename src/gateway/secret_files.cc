#include "gateway/secret_files.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>

#include <algorithm>

namespace postern::gateway {
namespace {

// File systems stamp with a clock that ticks; a write within the same tick leaves the same stamp.
constexpr Duration kClockTick = std::chrono::seconds(2);

}  // namespace

SecretFiles::Seen SecretFiles::look(const std::string& path, std::size_t max_bytes, Outcome& outcome) {
  Seen seen;
  seen.max_bytes = max_bytes;
  // Before the content: a write in between makes the next look see another stamp.
  if (Result<store::FileStamp> stamp = store::stamp_of(path)) seen.stamp = *stamp;
  outcome = config::DiskFileReader().read(path, max_bytes);
  // One that others may write is refused by every load: to make it safe is a change.
  if (outcome.content && !outcome.writable_by_others()) {
    Digest digest{};
    ::SHA256(reinterpret_cast<const unsigned char*>(outcome.content->data()), outcome.content->size(), digest.data());
    seen.digest = digest;
  }
  return seen;
}

void SecretFiles::settle(Seen& seen, WallTime now) noexcept {
  if (!seen.stamp) return;
  const std::int64_t youngest = std::max(seen.stamp->modified, seen.stamp->changed);
  seen.settled = now.time_since_epoch().count() - youngest >= kClockTick.count();
}

config::FileReader::Outcome SecretFiles::read(const std::string& path, std::size_t max_bytes) const {
  Outcome outcome;
  known_[path] = {look(path, max_bytes, outcome), std::nullopt};
  return outcome;
}

bool SecretFiles::changed(WallTime now) const {
  bool any = false;
  bool moving = false;
  for (auto& [path, known] : known_) {
    Seen& loaded = known.loaded;
    const Result<store::FileStamp> stamp = store::stamp_of(path);
    const bool same_stamp = stamp ? loaded.stamp == *stamp : !loaded.stamp;
    if (same_stamp && (loaded.settled || !stamp)) {
      known.fresh.reset();
      continue;
    }
    Outcome outcome;
    Seen fresh = look(path, loaded.max_bytes, outcome);
    if (outcome.content) OPENSSL_cleanse(outcome.content->data(), outcome.content->size());
    settle(fresh, now);
    if (fresh.digest == loaded.digest) {
      loaded = fresh;
      known.fresh.reset();
      continue;
    }
    // A change stays one until somebody reads the file for a load.
    any = true;
    moving = moving || !known.fresh || !same_look(*known.fresh, fresh);
    known.fresh = fresh;
  }
  return any && !moving;
}

}  // namespace postern::gateway
