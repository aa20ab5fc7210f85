// Secret: bytes that must never be printed, logged or copied by accident; and the references by which a configuration
// names them: ${env:NAME}, ${file:/path}, ${cred:name} (systemd credential, in $CREDENTIALS_DIRECTORY).
//
// A secret has no default and is never written into the file itself. Messages about a secret name its reference, never
// its value or its length.
#pragma once

#include <cstddef>
#include <cstdint>
#include <iosfwd>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace postern::config {

class Node;
class Diagnostics;

// Owns its bytes; they are wiped when it is destroyed or moved from. Const after construction, so it may be read by all
// loops.
class Secret {
 public:
  Secret() = default;
  explicit Secret(std::string_view bytes);
  Secret(const Secret&) = delete;
  Secret& operator=(const Secret&) = delete;
  Secret(Secret&& other) noexcept;
  Secret& operator=(Secret&& other) noexcept;
  ~Secret();

  // The only way to the bytes; valid until the Secret is moved or destroyed. Never NUL-terminated.
  [[nodiscard]] std::string_view reveal() const noexcept [[clang::lifetimebound]] { return {bytes_.get(), size_}; }
  [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
  [[nodiscard]] Secret clone() const { return Secret(reveal()); }
  // Constant time for equal lengths.
  [[nodiscard]] bool equals(const Secret& other) const noexcept;

 private:
  void wipe() noexcept;
  std::unique_ptr<char[]> bytes_;
  std::size_t size_ = 0;
};

// Writes "[secret]": what a Secret looks like in a test or a log by accident. fmt refuses to format it at all.
std::ostream& operator<<(std::ostream& out, const Secret& secret);

// The process environment as it was at start; tests use a map.
class Environment {
 public:
  virtual ~Environment() = default;
  [[nodiscard]] virtual std::optional<std::string> get(std::string_view name) const = 0;
};

// Reads small whole files. `problem` explains a failure in words of the operating system.
class FileReader {
 public:
  struct Outcome {
    std::optional<std::string> content;
    std::string problem;
    // Of the file whose content this is.
    std::uint32_t mode = 0600;
    bool own = false;  // belongs to the user of this process

    // Somebody else could put another content there.
    [[nodiscard]] bool writable_by_others() const noexcept { return (mode & 0022U) != 0; }
    // Everybody on this machine may read it, and its owner, who could change that, is this process.
    [[nodiscard]] bool needlessly_readable() const noexcept { return own && (mode & 0004U) != 0; }
  };
  virtual ~FileReader() = default;
  [[nodiscard]] virtual Outcome read(const std::string& path, std::size_t max_bytes) const = 0;
};

class ProcessEnvironment final : public Environment {
 public:
  [[nodiscard]] std::optional<std::string> get(std::string_view name) const override;
};

class DiskFileReader final : public FileReader {
 public:
  [[nodiscard]] Outcome read(const std::string& path, std::size_t max_bytes) const override;
};

// Where references are looked up. Both outlive the call they are passed to.
struct SecretSources {
  const Environment& environment;
  const FileReader& files;
};

inline constexpr std::size_t kMinSecretBytes = 16;
inline constexpr std::size_t kMaxSecretBytes = 16 * 1024;

// Reads the secret that `node` refers to and checks that it can stand in a header field: at least kMinSecretBytes,
// visible ASCII with inner spaces only, not one byte repeated. nullopt after saying why in `diagnostics`.
[[nodiscard]] std::optional<Secret> resolve_secret(const Node& node, const SecretSources& sources,
                                                   Diagnostics& diagnostics);

// The same for a secret that is a whole text and never a header field: a PEM key, a service account file. Lines of
// printable ASCII, tabs allowed; a file that everybody on this machine may read is refused, as the key of a certificate
// is.
[[nodiscard]] std::optional<Secret> resolve_document(const Node& node, const SecretSources& sources,
                                                     Diagnostics& diagnostics);

// True for text that looks like a reference; such text in a field that is no secret is an error (it would be used
// literally otherwise).
[[nodiscard]] bool contains_reference(std::string_view text) noexcept;

}  // namespace postern::config
