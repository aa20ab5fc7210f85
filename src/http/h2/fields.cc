#include "http/h2/fields.h"

#include <charconv>
#include <cstring>
#include <memory>
#include <string>
#include <utility>

#include "base/strings.h"
#include "http/h1/byte_scan.h"

namespace postern::http::h2 {
namespace {

constexpr std::size_t kMaxMethodSize = 32;
constexpr std::size_t kMaxBlocks = 4;       // as much as so many of the largest may lie in the arena
constexpr std::size_t kFieldOverhead = 32;  // RFC 9113 6.5.2

bool all_visible(std::string_view text) noexcept {
  return h1::skip_visible(text.data(), text.data() + text.size()) == text.data() + text.size();
}
bool is_value(std::string_view text) noexcept {
  return h1::skip_value(text.data(), text.data() + text.size()) == text.data() + text.size();
}

std::unexpected<Error> refuse(Code code, std::string_view rule) { return fail(code, Side::client, std::string(rule)); }
std::unexpected<Error> refuse_response(std::string_view rule) {
  return fail(Code::origin_malformed, Side::origin, std::string(rule));
}

bool is_websocket(std::string_view method, std::string_view protocol) noexcept {
  return method == "CONNECT" && iequals(protocol, "websocket");
}

// RFC 9113 8.3.1: :authority is what counts, and Host must not say anything else.
Result<void> apply_host(const FieldBlock& block, RequestHead& out) {
  const std::size_t hosts = block.fields().count(HeaderName::host);
  if (hosts > 1) return refuse(Code::bad_host, "more than one Host");
  const std::string_view host = block.fields().value(HeaderName::host);
  if (hosts == 1 && block.has_authority() && !iequals(host, block.authority())) {
    return refuse(Code::bad_host, "Host is not :authority");
  }
  const std::string_view authority = block.has_authority() ? block.authority() : host;
  if (authority.empty()) return refuse(Code::bad_host, "no :authority");
  out.headers.append("Host", authority, HeaderName::host);
  return {};
}

Result<void> apply_path(const FieldBlock& block, RequestHead& out) {
  if (block.path_too_long()) return refuse(Code::target_too_long, ":path too long");
  out.target = block.path();
  if (out.target.empty() || !all_visible(out.target))
    return refuse(Code::bad_target, "a byte outside of visible ASCII");
  if (out.target[0] != '/' && out.target != "*") return refuse(Code::bad_target, ":path is not a path");
  if (!iequals(block.scheme(), "http") && !iequals(block.scheme(), "https")) {
    return refuse(Code::bad_request, ":scheme other than http and https");
  }
  return {};
}

Result<void> apply_framing(bool end_stream, RequestHead& out) {
  const h1::HeadFacts facts = h1::facts_of(out.headers, Version::http_1_1);
  if (facts.fault != h1::HeadFacts::Fault::none) return refuse(Code::bad_framing, h1::describe(facts.fault));
  if (facts.expect_other) return refuse(Code::expectation_failed, "only 100-continue is known");
  out.expect_continue = facts.expect_continue;
  out.content_length = facts.length;
  if (!end_stream) {
    out.framing = facts.has_length ? Framing::length : Framing::chunked;
    return {};
  }
  if (facts.length != 0) return refuse(Code::bad_framing, "Content-Length without a body");
  // RFC 9110 8.6: such a method without content says so, or HTTP/1 origins ask for it (411).
  const bool expected = out.method == Method::post || out.method == Method::put || out.method == Method::patch;
  out.framing = facts.has_length || expected ? Framing::length : Framing::none;
  return {};
}

// RFC 8441 5 the other way round.
Result<void> become_upgrade(std::string_view key, RequestHead& out) {
  if (out.headers.find(HeaderName::content_length)) return refuse(Code::bad_framing, "Content-Length in a CONNECT");
  out.method = Method::get;
  out.method_text = "GET";
  out.framing = Framing::none;
  out.expect_continue = false;
  out.headers.remove(HeaderName::sec_websocket_key);
  out.headers.append("Connection", "Upgrade", HeaderName::connection);
  out.headers.append("Upgrade", "websocket", HeaderName::upgrade);
  out.headers.append("Sec-WebSocket-Key", key, HeaderName::sec_websocket_key);
  if (!out.headers.find(HeaderName::sec_websocket_version)) {
    out.headers.append("Sec-WebSocket-Version", "13", HeaderName::sec_websocket_version);
  }
  return {};
}

}  // namespace

void FieldBlock::begin(Kind kind) noexcept {
  std::construct_at(&said_);
  said_.kind = kind;
  fields_.clear();
}

FieldBlock::Added FieldBlock::add_pseudo(std::string_view name, std::string_view value, const HeadLimits& limits) {
  if (said_.kind == Kind::trailers) return Added::malformed;
  if (name == ":path") {
    said_.path_too_long = value.size() > limits.max_target_length;
    if (said_.path_too_long) return Added::too_large;
    said_.path = arena_.copy(value);
    return Added::yes;
  }
  said_.bytes += name.size() + value.size() + kFieldOverhead;
  if (said_.bytes > limits.max_header_bytes) {
    said_.oversized = true;
    return Added::too_large;
  }
  std::string_view* const place = name == ":method"      ? &said_.method
                                  : name == ":scheme"    ? &said_.scheme
                                  : name == ":authority" ? &said_.authority
                                  : name == ":protocol"  ? &said_.protocol
                                  : name == ":status"    ? &said_.status
                                                         : nullptr;
  if (!place) return Added::malformed;
  if (place == &said_.authority) said_.has_authority = true;
  *place = arena_.copy(value);
  return Added::yes;
}

FieldBlock::Added FieldBlock::add(std::string_view name, std::string_view value, const HeadLimits& limits) {
  if (name.empty() || !is_value(value)) return Added::malformed;
  if (name[0] == ':') return add_pseudo(name, value, limits);
  ++said_.count;
  said_.bytes += name.size() + value.size() + kFieldOverhead;
  bytes_of_all_ += name.size() + value.size();
  if (bytes_of_all_ / kMaxBlocks > limits.max_header_bytes) return Added::hopeless;
  if (said_.count > limits.max_header_count || said_.bytes > limits.max_header_bytes) {
    said_.oversized = true;
    const bool far = said_.count / 2 > limits.max_header_count || said_.bytes / 2 > limits.max_header_bytes;
    return far ? Added::hopeless : Added::too_large;
  }
  const HeaderName id = lookup_header_name(name);
  if (id == HeaderName::other) {
    if (!h1::is_token(name)) return Added::malformed;
    const std::span<char> text = arena_.allocate(name.size() + value.size());
    std::memcpy(text.data(), name.data(), name.size());
    if (!value.empty()) std::memcpy(text.data() + name.size(), value.data(), value.size());
    fields_.append({text.data(), name.size()}, {text.data() + name.size(), value.size()}, id);
    return Added::yes;
  }
  if (id == HeaderName::cookie) {
    ++said_.crumbs;
    said_.crumb_bytes += value.size() + 2;
  }
  fields_.append(header_text(id), arena_.copy(value), id);
  return Added::yes;
}

void FieldBlock::finish() {
  if (said_.crumbs < 2) return;
  const std::span<char> text = arena_.allocate(said_.crumb_bytes - 2);
  char* at = text.data();
  for (const Field& field : fields_) {
    if (field.id != HeaderName::cookie) continue;
    if (at != text.data()) {
      *at++ = ';';
      *at++ = ' ';
    }
    if (!field.value.empty()) std::memcpy(at, field.value.data(), field.value.size());
    at += field.value.size();
  }
  bool first = true;
  fields_.remove_if([&](const Field& field) { return field.id == HeaderName::cookie && !std::exchange(first, false); });
  for (std::size_t i = 0; i < fields_.size(); ++i) {
    if (fields_[i].id == HeaderName::cookie) fields_[i].value = {text.data(), text.size()};
  }
  said_.crumbs = 1;
}

bool asks_for_websocket(const FieldBlock& block) noexcept { return is_websocket(block.method(), block.protocol()); }

Result<void> make_request(const FieldBlock& block, bool end_stream, std::string_view websocket_key, RequestHead& out,
                          bool& websocket) {
  out.version = Version::http_2;
  out.method_text = block.method();
  out.method = method_of(out.method_text);
  websocket = is_websocket(block.method(), block.protocol());
  const bool tunnel = out.method == Method::connect && !websocket;
  Result<void> hosted = apply_host(block, out);
  for (const Field& field : block.fields()) {
    if (field.id != HeaderName::host) out.headers.append(field.name, field.value, field.id);
  }
  if (!h1::is_token(out.method_text) || out.method_text.size() > kMaxMethodSize) {
    return refuse(Code::bad_request, "malformed method");
  }
  if (tunnel) {
    out.target = block.authority();
    // RFC 9220 3: 501 to a :protocol that is not known. A plain CONNECT is the handler's to refuse.
    if (!block.protocol().empty()) return refuse(Code::method_refused, ":protocol other than websocket");
  } else {
    Result<void> targeted = apply_path(block, out);
    if (!targeted) return targeted;
  }
  if (block.oversized()) return refuse(Code::headers_too_large, h1::describe(h1::Flaw::too_large));
  if (!hosted) return hosted;
  Result<void> framed = apply_framing(end_stream, out);
  if (!framed || !websocket) return framed;
  return become_upgrade(websocket_key, out);
}

Result<ResponseFacts> judge_response(const FieldBlock& block, Method request_method, bool end_stream) {
  const std::string_view text = block.status();
  if (text.size() != 3 || !is_digit(text[0]) || !is_digit(text[1]) || !is_digit(text[2])) {
    return refuse_response("malformed :status");
  }
  ResponseFacts out;
  out.status = (text[0] - '0') * 100 + (text[1] - '0') * 10 + (text[2] - '0');
  if (out.status < 100 || out.status > 599 || out.status == 101) {  // RFC 9113 8.6
    return refuse_response("status code out of range");
  }
  const h1::HeadFacts facts = h1::facts_of(block.fields(), Version::http_1_1);
  if (facts.fault != h1::HeadFacts::Fault::none) return refuse_response(h1::describe(facts.fault));
  const bool interim = out.status < 200;
  if (interim && end_stream) return refuse_response("an interim head ends the stream");
  if ((interim || out.status == 204) && facts.has_length && facts.length != 0) {
    return refuse_response("a body with a status that cannot have one");
  }
  const bool bodiless = interim || out.status == 204 || out.status == 304 || request_method == Method::head;
  out.content_length = facts.length;
  out.announces_length = facts.has_length && (request_method == Method::head || out.status == 304);
  if (bodiless) return out;
  if (end_stream && facts.length != 0) return refuse_response("Content-Length without a body");
  out.framing = facts.has_length ? Framing::length : end_stream ? Framing::none : Framing::chunked;
  return out;
}

void make_response(const ResponseFacts& facts, const Headers& fields, ResponseHead& out) {
  out.status = facts.status;
  out.version = Version::http_2;
  out.framing = facts.framing;
  out.keep_alive = true;
  out.announces_length = facts.announces_length;
  out.content_length = facts.content_length;
  out.reason = {};
  out.headers.clear();
  for (const Field& field : fields) out.headers.append(field.name, field.value, field.id);
}

namespace {

// NOLINTNEXTLINE: the library reads from it
std::uint8_t* bytes(std::string_view text) { return reinterpret_cast<std::uint8_t*>(const_cast<char*>(text.data())); }

bool keeps_out_of_the_table(HeaderName name) noexcept {
  switch (name) {
    case HeaderName::authorization:
    case HeaderName::proxy_authorization:
    case HeaderName::cookie:
    case HeaderName::set_cookie: return true;
    // A value that never comes again would only push others out, here and at the peer's.
    case HeaderName::x_request_id: return true;
    default: return false;
  }
}

}  // namespace

void OutgoingFields::add(std::string_view name, std::string_view value) {
  fields_.push_back({bytes(name), bytes(value), name.size(), value.size(), NGHTTP2_NV_FLAG_NONE});
}

void OutgoingFields::add_constant_name(std::string_view name, std::string_view value) {
  fields_.push_back({bytes(name), bytes(value), name.size(), value.size(), NGHTTP2_NV_FLAG_NO_COPY_NAME});
}

void OutgoingFields::add_all(const Headers& headers, HeaderName nor) {
  for (const Field& field : headers) {
    switch (field.id) {
      case HeaderName::connection:
      case HeaderName::content_length:
      case HeaderName::host:
      case HeaderName::http2_settings:
      case HeaderName::keep_alive:
      case HeaderName::proxy_connection:
      case HeaderName::te:
      case HeaderName::transfer_encoding:
      case HeaderName::upgrade: continue;
      default:
        if (field.id == HeaderName::other) {
          add(field.name, field.value);
          continue;
        }
        if (field.id == nor) continue;
        add_constant_name(header_text(field.id), field.value);
        // The first one leaves its name there for those that follow.
        if (field.id == HeaderName::x_request_id && !std::exchange(space_.knows_request_id, true)) continue;
        if (keeps_out_of_the_table(field.id)) fields_.back().flags |= NGHTTP2_NV_FLAG_NO_INDEX;
    }
  }
}

void OutgoingFields::add_secret(const Headers& headers) {
  const std::size_t before = fields_.size();
  add_all(headers);
  for (std::size_t i = before; i < fields_.size(); ++i) fields_[i].flags |= NGHTTP2_NV_FLAG_NO_INDEX;
}

void OutgoingFields::add_status(int status) {
  status_ = {static_cast<char>('0' + status / 100), static_cast<char>('0' + status / 10 % 10),
             static_cast<char>('0' + status % 10)};
  add_constant_name(":status", {status_.data(), status_.size()});
}

void OutgoingFields::add_length(std::uint64_t length) {
  const char* const end = std::to_chars(length_.data(), length_.data() + length_.size(), length).ptr;
  add_constant_name("content-length", {length_.data(), static_cast<std::size_t>(end - length_.data())});
}

}  // namespace postern::http::h2
