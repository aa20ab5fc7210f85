#include "signature/content_digest.h"

#include "signature/structured_field.h"

namespace postern::signature {
namespace {

std::string hash_of(DigestAlgorithm algorithm, std::string_view body) {
  Digester digester(algorithm);
  digester.update(body);
  return digester.finish();
}

// nullopt if the member is not a byte sequence of `size` bytes.
std::optional<std::string> digest_in(const sf::Member& member, std::size_t size) {
  const auto* const item = std::get_if<sf::Item>(&member.value);
  const auto* const bytes = item ? std::get_if<sf::Bytes>(&item->value) : nullptr;
  if (!bytes || bytes->data.size() != size) return std::nullopt;
  return bytes->data;
}

}  // namespace

std::string_view digest_name(DigestAlgorithm algorithm) noexcept {
  return algorithm == DigestAlgorithm::sha_256 ? "sha-256" : "sha-512";
}

std::string content_digest_value(DigestAlgorithm algorithm, std::string_view hash) {
  std::string out(digest_name(algorithm));
  out.push_back('=');
  sf::append_bytes(out, hash);
  return out;
}

std::string content_digest_of(DigestAlgorithm algorithm, std::string_view body) {
  return content_digest_value(algorithm, hash_of(algorithm, body));
}

bool ContentDigest::matches(std::string_view body) const {
  if (!sha_256 && !sha_512) return false;
  if (sha_256 && *sha_256 != hash_of(DigestAlgorithm::sha_256, body)) return false;
  return !sha_512 || *sha_512 == hash_of(DigestAlgorithm::sha_512, body);
}

std::expected<ContentDigest, std::string> parse_content_digest(std::string_view value) {
  const auto dictionary = sf::parse_dictionary(value);
  if (!dictionary) return std::unexpected("Content-Digest is malformed");
  ContentDigest out;
  for (const sf::Member& member : *dictionary) {
    if (member.key != "sha-256" && member.key != "sha-512") continue;
    const bool is_256 = member.key == "sha-256";
    std::optional<std::string>& slot = is_256 ? out.sha_256 : out.sha_512;
    slot = digest_in(member, is_256 ? 32 : 64);
    if (!slot) return std::unexpected("Content-Digest: not a byte sequence of the right length");
  }
  if (!out.sha_256 && !out.sha_512) {
    return std::unexpected("Content-Digest has neither sha-256 nor sha-512");
  }
  return out;
}

}  // namespace postern::signature
