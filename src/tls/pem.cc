#include "tls/pem.h"

#include <openssl/pem.h>

#include <algorithm>
#include <array>
#include <string>

namespace postern::tls {
namespace {

constexpr std::string_view kDashes = "-----";
constexpr std::string_view kBegin = "-----BEGIN ";
constexpr std::string_view kEnd = "-----END ";
constexpr std::size_t kMaxText = 1024 * 1024;
constexpr std::size_t kMaxLabel = 64;

std::unexpected<Error> at_line(std::size_t line, std::string_view what) {
  return unusable("line " + std::to_string(line) + ": " + std::string(what));
}

// The label of a boundary line, "" if the line is none. RFC 7468 3 allows any visible character but the hyphen; labels
// in use are capitals, digits and spaces, and nothing else may reach a log.
std::string_view label_of(std::string_view line, std::string_view prefix) {
  if (!line.starts_with(prefix) || !line.ends_with(kDashes) || line.size() <= prefix.size() + kDashes.size()) return {};
  const std::string_view label = line.substr(prefix.size(), line.size() - prefix.size() - kDashes.size());
  const bool plain =
      std::ranges::all_of(label, [](char c) { return (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == ' '; });
  return plain && label.size() <= kMaxLabel ? label : std::string_view();
}

bool is_key(std::string_view label) { return label.ends_with("PRIVATE KEY"); }

BioPtr reader(std::string_view text) { return BioPtr(BIO_new_mem_buf(text.data(), static_cast<int>(text.size()))); }

// A passphrase is never asked for: a gateway starts without anybody at its terminal.
int no_passphrase(char* /*buffer*/, int /*size*/, int /*writing*/, void* asked) {
  *static_cast<bool*>(asked) = true;
  return -1;
}

// What is wrong with a text in which a key was expected. Its content is not repeated.
std::unexpected<Error> no_key(const PemBlock& block) {
  if (block.label == "CERTIFICATE") return at_line(block.line, "this is a certificate, where a private key belongs");
  if (block.label.ends_with("PUBLIC KEY")) {
    return at_line(block.line, "this is a public key, where a private key belongs");
  }
  return at_line(block.line, "this is \"" + std::string(block.label) + "\", where a private key belongs");
}

}  // namespace

std::unexpected<Error> unusable(std::string detail) { return fail(Code::io_failed, Side::gateway, std::move(detail)); }

Result<std::vector<PemBlock>> split_pem(std::string_view text) {
  if (text.size() > kMaxText) return unusable("the text is larger than 1 MiB");
  if (text.find_first_not_of(" \t\r\n") == std::string_view::npos) return unusable("the text is empty");
  std::vector<PemBlock> blocks;
  bool inside = false;
  std::size_t line_number = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    std::string_view line = text.substr(at, end - at);
    const std::size_t start = at;
    at = end + 1;
    ++line_number;
    if (line.find('\0') != std::string_view::npos) return at_line(line_number, "a NUL byte: this is no PEM");
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ' || line.back() == '\t')) line.remove_suffix(1);
    if (line.find("-----BEGIN") == std::string_view::npos && line.find("-----END") == std::string_view::npos) {
      // The rest of a boundary that was cut off; anywhere else dashes are an ornament.
      if (line.starts_with('-') && (inside || end == text.size())) {
        return at_line(line_number, "a part of a PEM boundary: the file is incomplete");
      }
      continue;
    }
    const std::string_view begins = label_of(line, kBegin);
    const std::string_view ends = label_of(line, kEnd);
    if (begins.empty() && ends.empty()) return at_line(line_number, "neither BEGIN nor END of a PEM block");
    if (begins.empty() != inside) {
      return at_line(line_number, inside ? "BEGIN inside of a PEM block: the one before it is incomplete"
                                         : "END without BEGIN: the file is incomplete");
    }
    if (!inside) {
      blocks.push_back({begins, text.substr(start), line_number});
      inside = true;
      continue;
    }
    PemBlock& block = blocks.back();
    if (ends != block.label) {
      return at_line(line_number, "END of another kind than the BEGIN in line " + std::to_string(block.line));
    }
    const std::size_t length = start + line.size() - static_cast<std::size_t>(block.text.data() - text.data());
    block.text = block.text.substr(0, length);
    inside = false;
  }
  if (inside) return at_line(blocks.back().line, "BEGIN without END: the file is incomplete");
  if (blocks.empty()) return unusable("this is no PEM: it has no BEGIN line");
  return blocks;
}

Result<X509Ptr> decode_certificate(const PemBlock& block) {
  const CleanErrorQueue errors;
  if (is_key(block.label)) return at_line(block.line, "a private key, where only certificates belong");
  if (block.label != "CERTIFICATE") {
    return at_line(block.line, "this is \"" + std::string(block.label) + "\", where only certificates belong");
  }
  char* name = nullptr;
  char* header = nullptr;
  unsigned char* data = nullptr;
  long length = 0;
  const BioPtr bio = reader(block.text);
  const int read = bio ? PEM_read_bio(bio.get(), &name, &header, &data, &length) : 0;
  const std::unique_ptr<char, decltype([](char* p) { OPENSSL_free(p); })> free_name(name);
  const std::unique_ptr<char, decltype([](char* p) { OPENSSL_free(p); })> free_header(header);
  const std::unique_ptr<unsigned char, decltype([](unsigned char* p) { OPENSSL_free(p); })> free_data(data);
  if (read != 1 || *header != '\0') return at_line(block.line, "the certificate is damaged: its base64 cannot be read");
  const unsigned char* cursor = data;
  X509Ptr certificate(d2i_X509(nullptr, &cursor, length));
  if (!certificate || cursor != data + length) {
    return at_line(block.line, "the certificate is damaged or incomplete: it is no X.509");
  }
  return certificate;
}

Result<KeyPtr> parse_key(std::string_view pem) {
  const CleanErrorQueue errors;
  Result<std::vector<PemBlock>> blocks = split_pem(pem);
  if (!blocks) return std::unexpected(std::move(blocks.error()));
  // `openssl ecparam -genkey` writes the name of the curve in front of the key, which has it, too.
  if (blocks->size() > 1 && blocks->front().label == "EC PARAMETERS") blocks->erase(blocks->begin());
  for (const PemBlock& block : *blocks) {
    if (!is_key(block.label)) return no_key(block);
  }
  const PemBlock& block = blocks->front();
  if (blocks->size() > 1) return at_line((*blocks)[1].line, "a second private key");
  constexpr std::array<std::string_view, 4> kLabels = {"PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY",
                                                       "ENCRYPTED PRIVATE KEY"};
  if (std::ranges::find(kLabels, block.label) == kLabels.end()) return no_key(block);
  bool asked = false;
  const BioPtr bio = reader(block.text);
  KeyPtr key(bio ? PEM_read_bio_PrivateKey(bio.get(), nullptr, no_passphrase, &asked) : nullptr);
  if (asked || block.label == "ENCRYPTED PRIVATE KEY") {
    return at_line(block.line,
                   "the private key is encrypted, and nobody is there to type its passphrase: "
                   "`openssl pkey -in FILE -out FILE` writes it without one");
  }
  if (!key) return at_line(block.line, "the private key is damaged or incomplete, or of an unknown kind");
  return key;
}

Result<RequestPtr> parse_request(std::string_view pem) {
  const CleanErrorQueue errors;
  const Result<std::vector<PemBlock>> blocks = split_pem(pem);
  if (!blocks) return unusable(std::string(blocks.error().detail()));
  const PemBlock& block = blocks->front();
  if (blocks->size() > 1 || (block.label != "CERTIFICATE REQUEST" && block.label != "NEW CERTIFICATE REQUEST")) {
    const PemBlock& wrong = blocks->size() > 1 ? (*blocks)[1] : block;
    return at_line(wrong.line, "this is \"" + std::string(wrong.label) + "\", where one certificate request belongs");
  }
  bool asked = false;
  const BioPtr bio = reader(block.text);
  RequestPtr request(bio ? PEM_read_bio_X509_REQ(bio.get(), nullptr, no_passphrase, &asked) : nullptr);
  if (!request) return at_line(block.line, "the certificate request is damaged or incomplete");
  return request;
}

}  // namespace postern::tls
