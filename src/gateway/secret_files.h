// SecretFiles: reads the files that secrets come from, and notices later that one of them has other content. What
// counts is the content: a file that was only touched has not changed, and the symbolic link that Kubernetes swaps has.
// A file that is just being written has not changed yet: what is new counts when two looks in a row have seen the same.
// One thread.
#pragma once

#include <array>
#include <map>
#include <optional>
#include <string>

#include "config/secret.h"
#include "platform/clock.h"
#include "store/key_file.h"

namespace postern::gateway {

class SecretFiles final : public config::FileReader {
 public:
  // Reads for a load; remembers a digest of what it found, a failure included.
  [[nodiscard]] Outcome read(const std::string& path, std::size_t max_bytes) const override;

  // True if a file that was read has other content now, and no file is other than at the look before: a load that
  // follows reads all of them. A stat() for each file, unless one was written just before it was read, or has changed:
  // such a file is read again.
  [[nodiscard]] bool changed(WallTime now) const;

 private:
  using Digest = std::array<unsigned char, 32>;
  struct Seen {
    std::size_t max_bytes = 0;
    std::optional<Digest> digest;  // nothing: it could not be read, or is refused
    std::optional<store::FileStamp> stamp;
    bool settled = false;  // a later write would give another stamp
  };
  struct Known {
    Seen loaded;                // what the last load found
    std::optional<Seen> fresh;  // what the last look found instead
  };
  static Seen look(const std::string& path, std::size_t max_bytes, Outcome& outcome);
  static void settle(Seen& seen, WallTime now) noexcept;

  // True if two looks have found the same: no write came in between, not even of the same bytes.
  static bool same_look(const Seen& a, const Seen& b) noexcept { return a.digest == b.digest && a.stamp == b.stamp; }

  mutable std::map<std::string, Known> known_;
};

}  // namespace postern::gateway
