#include "jose/ed25519_point.h"

#include <openssl/bn.h>

#include <algorithm>
#include <cstddef>
#include <memory>
#include <string_view>

#include "tls/openssl.h"

namespace postern::jose::internal {
namespace {

using Number = std::unique_ptr<BIGNUM, tls::Freed<BN_free>>;
using NumberContext = std::unique_ptr<BN_CTX, tls::Freed<BN_CTX_free>>;

// 2^255 - 19, and d = -121665/121666 modulo it (RFC 8032 5.1), highest byte first.
constexpr const char* kPrime = "7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffed";
constexpr const char* kD = "52036cee2b6ffe738cc740797779e89800700a4d4141d8ab75eb4dca135978a3";

consteval Ed25519Point point_of(std::string_view hex) {
  Ed25519Point out{};
  const auto digit = [](char c) { return c >= 'a' ? c - 'a' + 10 : c - '0'; };
  for (std::size_t i = 0; i < out.size(); ++i) {
    out[i] = static_cast<unsigned char>(digit(hex[2 * i]) * 16 + digit(hex[2 * i + 1]));
  }
  return out;
}

// The y of all eight points whose order divides 8, below the prime; x and -x are points of the same order.
constexpr std::array kSmallOrder = {
    point_of("0000000000000000000000000000000000000000000000000000000000000000"),
    point_of("0100000000000000000000000000000000000000000000000000000000000000"),
    point_of("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
    point_of("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
    point_of("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
};

Number from_hex(const char* hex) {
  BIGNUM* out = nullptr;
  BN_hex2bn(&out, hex);
  return Number(out);
}

// x^2 = (y^2 - 1) / (d y^2 + 1) has a solution, which is to say that the product of the two is a square: the divisor is
// never zero, for d is no square.
bool has_x(const Ed25519Point& y_bytes) {
  const NumberContext context(BN_CTX_new());
  const Number prime = from_hex(kPrime), d = from_hex(kD);
  const Number y(BN_lebin2bn(y_bytes.data(), static_cast<int>(y_bytes.size()), nullptr));
  const Number square(BN_new()), u(BN_new()), v(BN_new());
  if (!context || !prime || !d || !y || !square || !u || !v || BN_cmp(y.get(), prime.get()) >= 0) return false;
  BN_CTX* const work = context.get();
  return BN_mod_sqr(square.get(), y.get(), prime.get(), work) == 1 &&
         BN_mod_sub(u.get(), square.get(), BN_value_one(), prime.get(), work) == 1 &&
         BN_mod_mul(v.get(), square.get(), d.get(), prime.get(), work) == 1 && BN_add_word(v.get(), 1) == 1 &&
         BN_mod_mul(u.get(), u.get(), v.get(), prime.get(), work) == 1 &&
         (BN_is_zero(u.get()) || BN_kronecker(u.get(), prime.get(), work) == 1);
}

}  // namespace

PointFault check_point(const Ed25519Point& point) {
  const tls::CleanErrorQueue errors;
  Ed25519Point y = point;
  y.back() &= 0x7f;
  if (std::ranges::find(kSmallOrder, y) != kSmallOrder.end()) return PointFault::small_order;
  return has_x(y) ? PointFault::none : PointFault::off_curve;
}

}  // namespace postern::jose::internal
