#include "signature/http_message_signature.h"

#include "signature/digest.h"
#include "signature/structured_field.h"

namespace postern::signature {
namespace {

std::unexpected<Error> internal(std::string detail) { return fail(Code::internal, Side::gateway, std::move(detail)); }

bool append_integer_parameter(std::string& out, std::string_view key, const std::optional<std::int64_t>& value) {
  if (!value) return true;
  out += key;
  return sf::append_integer(out, *value);
}

bool append_text_parameter(std::string& out, std::string_view key, std::string_view value) {
  if (value.empty()) return true;
  out += key;
  return sf::append_string(out, value);
}

// The covered components that are signed for this message, with the parameters: (...);created=...
Result<std::string> signature_params(const Message& message, const CoveredComponents& components,
                                     const SignatureParameters& parameters) {
  std::string out;
  out.reserve(256);
  out.push_back('(');
  for (const Component& component : components.list()) {
    if (!is_signed(component, message)) continue;
    if (out.size() > 1) out.push_back(' ');
    out += component.identifier;
  }
  if (out.size() == 1 && parameters.coverage == SignatureParameters::Coverage::something) {
    return internal("a signature that covers nothing would be good for every message");
  }
  out.push_back(')');
  const bool written =
      append_integer_parameter(out, ";created=", parameters.created) &&
      append_integer_parameter(out, ";expires=", parameters.expires) &&
      append_text_parameter(out, ";keyid=", parameters.keyid) && append_text_parameter(out, ";alg=", parameters.alg) &&
      append_text_parameter(out, ";nonce=", parameters.nonce) && append_text_parameter(out, ";tag=", parameters.tag);
  if (!written) return internal("a parameter of the signature is not printable ASCII, or out of range");
  return out;
}

}  // namespace

Result<std::string> SharedSecret::sign(std::string_view base) const {
  if (!usable_) return fail(Code::internal, Side::gateway, "the shared secret is too short");
  const HmacSha256::Tag tag = key_.compute(base);
  return std::string(bytes_of(tag));
}

bool SharedSecret::verify(std::string_view base, std::string_view signature) const {
  if (!usable_) return false;
  const HmacSha256::Tag tag = key_.compute(base);
  return equal_in_constant_time(bytes_of(tag), signature);
}

Result<std::string> signature_base(const Message& message, const CoveredComponents& components,
                                   std::string_view signature_params_text) {
  std::string out;
  out.reserve(512 + signature_params_text.size());
  for (const Component& component : components.list()) {
    if (!is_signed(component, message)) continue;
    out += component.identifier;
    out += ": ";
    const Result<void> appended = append_component_value(out, component, message);
    if (!appended) {
      return fail(appended.error().code(), appended.error().side(), std::string(appended.error().detail()));
    }
    out.push_back('\n');
  }
  out += "\"@signature-params\": ";
  out += signature_params_text;
  return out;
}

Result<SignedFields> sign_message(const Message& message, const CoveredComponents& components,
                                  const SignatureParameters& parameters, std::string_view label,
                                  const MessageSigner& signer) {
  if (!sf::is_key(label)) return internal("the label of the signature is not a key of RFC 8941");
  if (!parameters.created) return internal("a signature without `created` would be good for ever");
  if (!parameters.alg.empty() && parameters.alg != signer.algorithm()) {
    return internal("the signature's alg is not the key's");
  }
  Result<std::string> params = signature_params(message, components, parameters);
  if (!params) return std::unexpected(std::move(params).error());
  Result<std::string> base = signature_base(message, components, *params);
  if (!base) return std::unexpected(std::move(base).error());
  const Result<std::string> signature = signer.sign(*base);
  if (!signature) return internal("the key did not sign");

  SignedFields out;
  out.signature_input.reserve(label.size() + 1 + params->size());
  out.signature_input += label;
  out.signature_input.push_back('=');
  out.signature_input += *params;
  out.signature.reserve(label.size() + 3 + (signature->size() + 2) / 3 * 4);
  out.signature += label;
  out.signature.push_back('=');
  sf::append_bytes(out.signature, *signature);
  out.base = std::move(*base);
  return out;
}

}  // namespace postern::signature
