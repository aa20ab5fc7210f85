// llhttp in strict mode as a second opinion on messages (docs/decisions/001-http1-parser.md). For tests and fuzz
// targets only; the product does not contain it.
#pragma once

#include <llhttp.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/strings.h"
#include "http/message.h"

namespace postern::http::h1 {

// One message as llhttp read it.
struct SecondOpinion {
  enum class Kind { refused, unfinished, complete };
  Kind head = Kind::unfinished;
  Kind message = Kind::unfinished;
  std::string why;  // of a refusal
  std::string method;
  std::string target;
  int status = 0;
  int minor = 0;
  Framing framing = Framing::none;
  std::uint64_t content_length = 0;
  bool keep_alive = false;
  std::string fields;  // like text_of(const Headers&)
  std::string trailers;
  std::string body;
  std::size_t size = 0;  // of the whole message, once complete
};

class Llhttp {
 public:
  // `request_method` belongs to the request that a response answers.
  static SecondOpinion read(std::string_view bytes, llhttp_type_t type, Method request_method = Method::get) {
    Llhttp reader;
    reader.head_request_ = request_method == Method::head;
    reader.run(bytes, type);
    return std::move(reader.out_);
  }

 private:
  static Llhttp& self(llhttp_t* parser) { return *static_cast<Llhttp*>(parser->data); }

  void run(std::string_view bytes, llhttp_type_t type) {
    llhttp_settings_t settings;
    llhttp_settings_init(&settings);
    settings.on_url = [](llhttp_t* p, const char* at, std::size_t n) { return self(p).out_.target.append(at, n), 0; };
    settings.on_header_field = [](llhttp_t* p, const char* at, std::size_t n) {
      return self(p).name_.append(at, n), 0;
    };
    settings.on_header_value = [](llhttp_t* p, const char* at, std::size_t n) {
      return self(p).value_.append(at, n), 0;
    };
    settings.on_header_value_complete = [](llhttp_t* p) { return self(p).end_field(), 0; };
    settings.on_headers_complete = [](llhttp_t* p) { return self(p).end_head(*p); };
    settings.on_body = [](llhttp_t* p, const char* at, std::size_t n) { return self(p).out_.body.append(at, n), 0; };
    settings.on_message_complete = [](llhttp_t* p) {
      self(p).out_.message = SecondOpinion::Kind::complete;
      return static_cast<int>(HPE_PAUSED);
    };
    llhttp_t parser;
    llhttp_init(&parser, type, &settings);
    parser.data = this;
    const llhttp_errno_t result = llhttp_execute(&parser, bytes.data(), bytes.size());
    if (out_.message == SecondOpinion::Kind::complete) {
      out_.size = static_cast<std::size_t>(llhttp_get_error_pos(&parser) - bytes.data());
    } else if (result != HPE_OK) {
      out_.message = SecondOpinion::Kind::refused;
      // It judges the transfer coding of a request only after it has reported the head.
      const std::string_view reason = llhttp_get_error_reason(&parser);
      const bool late = result == HPE_INVALID_TRANSFER_ENCODING && reason.starts_with("Request has");
      if (late || out_.head != SecondOpinion::Kind::complete) out_.head = SecondOpinion::Kind::refused;
      out_.why = std::string(llhttp_errno_name(result)) + ": " + llhttp_get_error_reason(&parser);
    }
  }

  void end_field() {
    std::string& list = out_.head == SecondOpinion::Kind::complete ? out_.trailers : out_.fields;
    list.append("[").append(name_).append("|").append(trim_ows(value_)).append("]");
    name_.clear();
    value_.clear();
  }

  int end_head(const llhttp_t& parser) {
    out_.head = SecondOpinion::Kind::complete;
    if (parser.type == HTTP_REQUEST) out_.method = llhttp_method_name(static_cast<llhttp_method_t>(parser.method));
    out_.status = parser.status_code;
    out_.minor = parser.http_minor;
    out_.content_length = parser.content_length;
    const int status = out_.status;
    const bool bodiless =
        parser.type == HTTP_RESPONSE && (head_request_ || status / 100 == 1 || status == 204 || status == 304);
    if (bodiless) {
      out_.framing = Framing::none;
    } else if ((parser.flags & F_CHUNKED) != 0) {
      out_.framing = Framing::chunked;
    } else if ((parser.flags & F_CONTENT_LENGTH) != 0) {
      out_.framing = Framing::length;
    } else {
      out_.framing = parser.type == HTTP_REQUEST ? Framing::none : Framing::until_close;
    }
    out_.keep_alive = llhttp_should_keep_alive(&parser) != 0;
    // 1: no body follows, whatever the fields say. llhttp leaves to its user to know that: after a 304 with a length it
    // would read a body.
    return bodiless ? 1 : 0;
  }

  SecondOpinion out_;
  std::string name_;
  std::string value_;
  bool head_request_ = false;
};

}  // namespace postern::http::h1
