// What AWS answers: the XML of STS and the JSON of its metadata. Sources: aws.cc.
#include <openssl/crypto.h>

#include <algorithm>
#include <pugixml.hpp>

#include "base/strings.h"
#include "config/units.h"
#include "jose/json.h"
#include "tokens/aws.h"

namespace postern::tokens {
namespace {

constexpr std::size_t kMaxKeyId = 128;
constexpr std::size_t kMaxSecretKey = 1024;
constexpr jose::JsonLimits kMetadataLimits{.bytes = 64 * 1024, .depth = 8, .values = 256};

// A document that lives in our own buffer, so that it can be wiped: pugixml ends texts where they stand.
class Document {
 public:
  explicit Document(std::string_view text) : text_(text) {
    if (text.size() > kMaxAwsXml || text.find('\0') != std::string_view::npos) return;
    // With a document type come entities; pugixml would skip it, but nobody who speaks for STS sends one.
    const auto result = document_.load_buffer_inplace(text_.data(), text_.size(),
                                                      pugi::parse_default | pugi::parse_doctype, pugi::encoding_utf8);
    if (!result) return;
    for (const pugi::xml_node& child : document_.children()) {
      if (child.type() == pugi::node_doctype) return;
      if (child.type() != pugi::node_element) continue;
      if (root_) {
        root_ = {};
        return;
      }
      root_ = child;
    }
  }
  Document(const Document&) = delete;
  Document& operator=(const Document&) = delete;
  ~Document() { OPENSSL_cleanse(text_.data(), text_.size()); }

  // The one element at top; none if the text is no XML that is taken.
  [[nodiscard]] pugi::xml_node root() const noexcept { return root_; }

 private:
  std::string text_;
  pugi::xml_document document_;
  pugi::xml_node root_;
};

bool is_called(pugi::xml_node node, std::string_view name) { return std::string_view(node.name()) == name; }

// The one child of that name; none if there are two.
pugi::xml_node only(pugi::xml_node parent, std::string_view name) {
  pugi::xml_node found;
  for (const pugi::xml_node& child : parent.children()) {
    if (child.type() != pugi::node_element || !is_called(child, name)) continue;
    if (found) return {};
    found = child;
  }
  return found;
}

// The text of that child: of one piece, without elements in it.
std::string_view text_of(pugi::xml_node parent, std::string_view name) {
  const pugi::xml_node node = only(parent, name);
  const pugi::xml_node content = node.first_child();
  if (!content || content.next_sibling() || content.type() != pugi::node_pcdata) return {};
  return content.value();
}

bool is_key_id(std::string_view text) noexcept {
  return text.size() >= 4 && text.size() <= kMaxKeyId &&
         std::ranges::all_of(text, [](char c) { return is_alpha(c) || is_digit(c) || c == '_'; });
}

std::expected<AwsAnswer, std::string_view> answer_of(std::string_view id, std::string_view secret,
                                                     std::string_view token, std::string_view expiration) {
  if (!is_key_id(id)) return std::unexpected("without an access key id");
  if (!cloud::is_name(secret, kMaxSecretKey)) return std::unexpected("without a secret access key");
  if (!cloud::is_token_text(token)) return std::unexpected("without a session token that fits a header field");
  const auto expires = config::parse_timestamp(expiration);
  if (!expires) return std::unexpected("without a time at which the credentials end");
  return AwsAnswer{{std::string(id), config::Secret(secret), config::Secret(token)}, expires, {}};
}

}  // namespace

std::expected<AwsAnswer, std::string_view> parse_sts_answer(std::string_view xml, std::string_view action) {
  const Document document(xml);
  const pugi::xml_node root = document.root();
  if (!root) return std::unexpected("with something that is not XML as STS writes it");
  const std::string name(action);
  if (!is_called(root, name + "Response")) return std::unexpected("with XML that is no answer to this question");
  const pugi::xml_node result = only(root, name + "Result");
  const pugi::xml_node credentials = only(result, "Credentials");
  if (!credentials) return std::unexpected("without credentials");
  auto out = answer_of(text_of(credentials, "AccessKeyId"), text_of(credentials, "SecretAccessKey"),
                       text_of(credentials, "SessionToken"), text_of(credentials, "Expiration"));
  if (out) out->arn = cloud::quote(text_of(only(result, "AssumedRoleUser"), "Arn"), {});
  return out;
}

cloud::Refusal parse_sts_error(std::string_view xml) {
  const Document document(xml);
  if (!is_called(document.root(), "ErrorResponse")) return {};
  const pugi::xml_node error = only(document.root(), "Error");
  return {std::string(text_of(error, "Code")), std::string(text_of(error, "Message"))};
}

std::expected<AwsAnswer, std::string_view> parse_aws_metadata(std::string_view text) {
  auto json = jose::Json::parse(text, kMetadataLimits);
  if (!json || !json->if_object()) return std::unexpected("with something that is no JSON object");
  const auto member = [&](std::string_view name) -> std::string_view {
    const std::string* const value = json->find_string(name);
    return value ? std::string_view(*value) : std::string_view();
  };
  // EC2 says in a 200 that the role cannot be assumed.
  const bool refused = json->find("Code") && member("Code") != "Success";
  auto out = refused
                 ? std::unexpected(std::string_view("that there are no credentials"))
                 : answer_of(member("AccessKeyId"), member("SecretAccessKey"), member("Token"), member("Expiration"));
  json->wipe();
  return out;
}

}  // namespace postern::tokens
