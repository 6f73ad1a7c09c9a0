#include "server/tls.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>

#include <utility>

#include "base/file.h"

namespace heed::http {
namespace {

namespace ssl = boost::asio::ssl;
using Context = std::unique_ptr<ssl::context>;

constexpr int64_t kMaxPemBytes = int64_t{1} << 20;

// No prompt on a terminal that may not be there: an encrypted key is an error.
int no_password(char* /*buffer*/, int /*size*/, int /*writing*/, void* asked) {
  *static_cast<bool*>(asked) = true;
  return -1;
}

int choose_http_11(SSL* /*connection*/, const unsigned char** chosen, unsigned char* chosen_bytes,
                   const unsigned char* offered, unsigned int offered_bytes, void* /*unused*/) {
  static constexpr unsigned char kOurs[] = "\x08http/1.1";
  unsigned char* match = nullptr;
  if (SSL_select_next_proto(&match, chosen_bytes, kOurs, sizeof kOurs - 1, offered, offered_bytes) !=
      OPENSSL_NPN_NEGOTIATED) {
    return SSL_TLSEXT_ERR_NOACK;
  }
  *chosen = match;
  return SSL_TLSEXT_ERR_OK;
}

std::string openssl_reason() {
  const unsigned long code = ERR_peek_last_error();
  ERR_clear_error();
  const char* reason = ERR_reason_error_string(code);
  return reason ? reason : "unknown error";
}

struct FreeOpenssl {
  void operator()(BIO* bio) const { BIO_free(bio); }
  void operator()(X509* certificate) const { X509_free(certificate); }
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};

using Bio = std::unique_ptr<BIO, FreeOpenssl>;
using Certificate = std::unique_ptr<X509, FreeOpenssl>;
using Key = std::unique_ptr<EVP_PKEY, FreeOpenssl>;

Bio bio_of(const std::string& text) {
  return Bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

// The server's certificate first, then those that lead from it to a known authority.
Status load_chain(SSL_CTX* context, const std::string& path) {
  const std::string text = TRY(read_file(path, kMaxPemBytes));
  const Bio bio = bio_of(text);
  const Certificate own(PEM_read_bio_X509_AUX(bio.get(), nullptr, nullptr, nullptr));
  if (!own) return invalid(path + ": no PEM certificate in it (" + openssl_reason() + ")");
  if (SSL_CTX_use_certificate(context, own.get()) != 1) return invalid(path + ": " + openssl_reason());
  while (Certificate next{PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr)}) {
    if (SSL_CTX_add1_chain_cert(context, next.get()) != 1) return invalid(path + ": " + openssl_reason());
  }
  ERR_clear_error();  // reading past the last one is an error to OpenSSL
  return {};
}

Status load_key(SSL_CTX* context, const std::string& path, const std::string& certfile) {
  const std::string text = TRY(read_file(path, kMaxPemBytes));
  const Bio bio = bio_of(text);
  bool asked = false;
  const Key key(PEM_read_bio_PrivateKey(bio.get(), nullptr, no_password, &asked));
  if (asked) return unsupported(path + ": the private key is encrypted; only plain PEM keys are read");
  if (!key) return invalid(path + ": no PEM private key in it (" + openssl_reason() + ")");
  if (SSL_CTX_use_PrivateKey(context, key.get()) != 1 || SSL_CTX_check_private_key(context) != 1) {
    return invalid(path + ": the private key does not belong to " + certfile + " (" + openssl_reason() + ")");
  }
  return {};
}

}  // namespace

Result<Context> tls_context(const std::string& certfile, const std::string& keyfile) {
  if (certfile.empty() && keyfile.empty()) return Context();
  if (certfile.empty()) return invalid("ssl_keyfile is given, but not ssl_certfile");
  if (keyfile.empty()) return invalid("ssl_certfile is given, but not ssl_keyfile");
  auto context = std::make_unique<ssl::context>(ssl::context::tls_server);
  SSL_CTX* native = context->native_handle();
  SSL_CTX_set_min_proto_version(native, TLS1_2_VERSION);
  SSL_CTX_set_options(native,
                      SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE);
  SSL_CTX_set_session_cache_mode(native, SSL_SESS_CACHE_OFF);  // tickets do the same without memory here
  SSL_CTX_set_mode(native, SSL_MODE_RELEASE_BUFFERS);          // an idle connection holds no record buffers
  SSL_CTX_set_alpn_select_cb(native, choose_http_11, nullptr);
  TRY(load_chain(native, certfile));
  TRY(load_key(native, keyfile, certfile));
  return context;
}

}  // namespace heed::http
