// Internal to load(): certificates, keys and authorities from the files that a configuration names, judged with the
// place in the configuration that names them.
//
// Files are read through LoadInput::secrets.files, so that their content is watched like that of secrets. What was read
// once in a load is not read again, and what is the same as in LoadInput::in_force becomes the same object. Texts of
// keys are wiped as soon as they are parsed. Lives as long as one load().
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "config/config.h"
#include "config/diagnostics.h"

namespace postern::config {

class CertificateReader {
 public:
  CertificateReader(const LoadInput& input, Diagnostics& diagnostics) : input_(input), diagnostics_(diagnostics) {}

  // The pair in the files that the two nodes name; or that of LoadInput::in_force, if it is `kept`. nullptr after
  // saying why it cannot be used; what is worth a warning (a key that others may read, dates) has been said, too.
  [[nodiscard]] std::shared_ptr<const tls::CertifiedKey> read_pair(const Node& certificate, const Node& key,
                                                                   tls::CertifiedKey::Use use);
  // The authorities in the file that `ca` names. nullptr after saying why.
  [[nodiscard]] std::shared_ptr<const tls::TrustAnchors> read_authorities(const Node& ca);
  // Those of the operating system, read anew for each load. nullptr after saying at `at` why there are none.
  [[nodiscard]] std::shared_ptr<const tls::TrustAnchors> system_authorities(const Node& at);
  // A certificate for development, for these names and addresses. nullptr after saying why.
  [[nodiscard]] std::shared_ptr<const tls::CertifiedKey> make_self_signed(const std::vector<std::string>& names,
                                                                          const Node& at);

 private:
  [[nodiscard]] std::shared_ptr<const tls::CertifiedKey> read_new_pair(const Node& certificate, const Node& key,
                                                                       tls::CertifiedKey::Use use);
  // The one in force from these files, if LoadInput says that it goes on; nullptr otherwise.
  [[nodiscard]] std::shared_ptr<const tls::CertifiedKey> keep_pair(const Node& certificate, const Node& key,
                                                                   tls::CertifiedKey::Use use, std::size_t said);
  enum class Content : std::uint8_t { certificate, key, authorities };
  // The caller wipes it. nullopt after saying why.
  [[nodiscard]] std::optional<std::string> read_file(const Node& path, Content content);
  [[nodiscard]] std::shared_ptr<const tls::CertifiedKey> same_in_force(const tls::CertifiedKey& pair) const;
  [[nodiscard]] std::shared_ptr<const tls::TrustAnchors> same_in_force(const tls::TrustAnchors& anchors) const;
  // Says it if a certificate is out of its dates, or will be soon. False if that is an error.
  enum class Runs : bool { no, yes };
  bool judge_dates(const tls::Certificate& certificate, const Node& at, Runs runs);
  bool judge_dates(const tls::CertifiedKey& pair, const Node& at, Runs runs);
  bool judge_dates(const tls::TrustAnchors& anchors, const Node& at, Runs runs);

  const LoadInput& input_;
  Diagnostics& diagnostics_;
  using Paths = std::pair<std::string, std::string>;
  std::map<std::pair<tls::CertifiedKey::Use, Paths>, std::shared_ptr<const tls::CertifiedKey>> pairs_;
  std::map<std::string, std::shared_ptr<const tls::TrustAnchors>> authorities_;
  std::shared_ptr<const tls::TrustAnchors> system_;
};

// True if a certificate that bears `pattern` ("api.example.com", "*.example.com" for one label) serves `name`, which
// may be such a pattern, too.
[[nodiscard]] bool covers(std::string_view pattern, std::string_view name) noexcept;

}  // namespace postern::config
