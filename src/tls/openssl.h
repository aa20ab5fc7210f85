// What every use of OpenSSL in this room needs besides certificate.h: owners for its objects, and an error queue that
// is left as empty as it was found.
#pragma once

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509v3.h>

#include <memory>
#include <string>

#include "tls/certificate.h"

namespace postern::tls {

using BioPtr = std::unique_ptr<BIO, Freed<BIO_free_all>>;
using NamePtr = std::unique_ptr<X509_NAME, Freed<X509_NAME_free>>;
using GeneralNamesPtr = std::unique_ptr<GENERAL_NAMES, Freed<GENERAL_NAMES_free>>;
using DigestContextPtr = std::unique_ptr<EVP_MD_CTX, Freed<EVP_MD_CTX_free>>;
using RequestPtr = std::unique_ptr<X509_REQ, Freed<X509_REQ_free>>;
using StoreContextPtr = std::unique_ptr<X509_STORE_CTX, Freed<X509_STORE_CTX_free>>;

// The queue belongs to the thread, and SSL_get_error() takes whatever lies in it for the reason of its own failure. So
// every function that calls into libcrypto has one of these in front of everything else.
class CleanErrorQueue {
 public:
  CleanErrorQueue() noexcept { ERR_clear_error(); }
  ~CleanErrorQueue() { ERR_clear_error(); }
  CleanErrorQueue(const CleanErrorQueue&) = delete;
  CleanErrorQueue& operator=(const CleanErrorQueue&) = delete;
};

// What has been written to a memory BIO.
[[nodiscard]] std::string content_of(BIO* memory);

// How a certificate is called in messages: by its subject, or by a name that it has instead of one. Bounded.
[[nodiscard]] std::string name_for_people(const Certificate& certificate);

// Why a key cannot be used, for people: too short, another curve. "" if it can.
[[nodiscard]] std::string weakness_of(EVP_PKEY* key);

}  // namespace postern::tls
