// The file of hashed keys, for those who keep consumers in version control:
//
//   version: 1
//   consumers:
//     - id: acme
//       name: ACME Corporation        # default: the id
//       metadata: {plan: gold}
//       keys:
//         - id: pst_4XbQ9sLm
//           sha256: 64 lower-case hexadecimal digits
//           created: 2026-01-01T00:00:00Z
//           expires: 2027-01-01T00:00:00Z   # optional
//           revoked: 2026-06-01T12:00:00Z   # optional: refused from now on, whatever the time says
//
// YAML, or JSON if its name ends in .json. Everything unknown is an error.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "store/key_record.h"

namespace postern::config {
class Diagnostics;
}

namespace postern::store {

// Reports every problem in `diagnostics`; the records count only if it has no errors afterwards.
[[nodiscard]] std::vector<KeyRecord> parse_key_file(const std::string& file, std::string_view text,
                                                    config::Diagnostics& diagnostics);

// The same from the disk; also refuses a file that others than its owner may write. A file that cannot be read is a
// problem like any other.
[[nodiscard]] std::vector<KeyRecord> read_key_file(const std::string& file, config::Diagnostics& diagnostics);

// The entry for the list `consumers`, as YAML that parse_key_file reads: what `postern keys create` prints for the
// file.
[[nodiscard]] std::string format_key_entry(const KeyRecord& record);

// What identifies a state of a file without reading it. Equal only if nothing was written in between, as far as the
// file system's clock can tell; see KeyFile.
struct FileStamp {
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  std::int64_t size = 0;
  std::int64_t modified = 0;  // nanoseconds since 1970
  std::int64_t changed = 0;
  friend bool operator==(const FileStamp&, const FileStamp&) = default;
};
// Code::store_unavailable if the file cannot be looked at. Follows symbolic links (Kubernetes mounts files so).
[[nodiscard]] Result<FileStamp> stamp_of(const std::string& path);

// One file, read again when it may have changed. One thread.
class KeyFile {
 public:
  explicit KeyFile(std::string path) : path_(std::move(path)) {}

  enum class Change : std::uint8_t { none, read };
  // Looks at the file and reads it if its stamp differs from the last one, or is so young that a write within the
  // file system's clock tick could hide behind it. Change::read only if its content is another one. On an Error,
  // records() keeps the last good state.
  [[nodiscard]] Result<Change> refresh(WallTime now);
  [[nodiscard]] const std::vector<KeyRecord>& records() const noexcept { return records_; }

 private:
  using Digest = std::array<unsigned char, 32>;

  std::string path_;
  FileStamp stamp_;
  Digest digest_{};       // SHA-256 of what records_ was read from
  bool good_ = false;     // the last refresh read the file that stamp_ names
  bool settled_ = false;  // and stamp_ was old enough then
  std::vector<KeyRecord> records_;
};

}  // namespace postern::store
