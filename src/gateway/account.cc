#include "gateway/account.h"

namespace postern::gateway {

void Account::error(const Error& error) {
  if (!error_) error_ = std::make_unique<Error>(error.code(), error.side(), std::string(error.detail()));
}

void Account::close() {
  if (forgotten_) return;
  if (!finished_ && !error_) error_ = std::make_unique<Error>(Code::client_closed, Side::client);
  const MonoTime now = context_.loop.now();
  const Duration duration = now - exchange_.started;
  observe::LoopMetrics& metrics = context_.metrics;
  metrics.add(metrics_->status(status_));
  metrics.observe(metrics_->duration, duration);
  if (error_) metrics.add(context_.metric_families.error(*error_));
  const OriginExchange::Facts* const facts = origin_exchange_ ? &origin_exchange_->facts() : nullptr;

  if (!context_.access_log) return;
  observe::AccessRecord record;
  record.time = exchange_.started_wall;
  record.request_id = exchange_.request_id;
  const std::string client = exchange_.client_address.to_string();
  record.client = client;
  record.method = exchange_.request.method_text;
  record.host = exchange_.target.host;
  record.path = exchange_.target.path;
  record.query = exchange_.target.query;
  record.protocol = exchange_.request.version == http::Version::http_1_0   ? "HTTP/1.0"
                    : exchange_.request.version == http::Version::http_1_1 ? "HTTP/1.1"
                                                                           : "HTTP/2";
  if (const tls::Handshake* const tls = client_.connection().tls) record.tls = tls->protocol;
  record.status = status_;
  if (route_) record.route = route_->config->name;
  record.consumer = exchange_.consumer.id;
  if (origin_ && facts) {
    record.origin = origin_->origin->config.name;
    record.endpoint = facts->endpoint < 0 ? 0 : static_cast<std::uint32_t>(facts->endpoint);
    record.attempts = facts->attempts;
    record.connect = facts->connect;
    record.first_byte = facts->first_byte;
    if (facts->client_certificate) record.origin_certificate = tls::to_string(*facts->client_certificate);
    record.bytes_in = facts->spliced_in;
    record.bytes_out = facts->spliced_out;
  }
  record.duration = duration;
  record.bytes_in += client_.body().received();
  record.bytes_out += client_.sent();
  if (error_) {
    record.error_code = info(error_->code()).id;
    record.error_side = error_->side();
    record.error_detail = error_->detail();
  }
  record.user_agent = exchange_.request.headers.value(http::HeaderName::user_agent);
  record.referer = exchange_.request.headers.value(http::HeaderName::referer);
  context_.access_log->append(record);
}

}  // namespace postern::gateway
