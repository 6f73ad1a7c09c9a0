// A web server under TLS for one name, which answers every request alike and remembers what it was told.
#pragma once
#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <thread>

#include "base/check.h"

namespace heed {

class TlsServer {
 public:
  // Its certificate, signed with its own key, is for `name` and lies in ca_file().
  explicit TlsServer(const std::string& name)
      : ca_file_(std::filesystem::temp_directory_path() /
                 ("heed_fetch_" + std::to_string(::getpid()) + "_" + name + ".pem")) {
    make_certificate(name);
    SSL_CTX_set_tlsext_servername_callback(
        context_, +[](SSL* ssl, int*, void* server) {
          const char* told = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
          static_cast<TlsServer*>(server)->server_name = told ? told : "";
          return SSL_TLSEXT_ERR_OK;
        });
    SSL_CTX_set_tlsext_servername_arg(context_, this);
    listening_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    CHECK(::bind(listening_, reinterpret_cast<sockaddr*>(&address), size) == 0);
    CHECK(::listen(listening_, 16) == 0);
    CHECK(::getsockname(listening_, reinterpret_cast<sockaddr*>(&address), &size) == 0);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { serve(); });
  }
  ~TlsServer() {
    ::shutdown(listening_, SHUT_RDWR);
    thread_.join();
    ::close(listening_);
    SSL_CTX_free(context_);
    std::filesystem::remove(ca_file_);
  }
  TlsServer(const TlsServer&) = delete;
  TlsServer& operator=(const TlsServer&) = delete;

  std::string port() const { return std::to_string(port_); }
  const std::string& ca_file() const { return ca_file_; }
  // Of the last connection; to be read between them.
  std::string server_name, request;

 private:
  void make_certificate(const std::string& name) {
    EVP_PKEY* key = EVP_EC_gen("P-256");
    X509* certificate = X509_new();
    X509_set_version(certificate, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
    X509_gmtime_adj(X509_getm_notBefore(certificate), 0);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
    X509_set_pubkey(certificate, key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_ASC,
                               reinterpret_cast<const unsigned char*>("test"), -1, -1, 0);
    X509_set_issuer_name(certificate, X509_get_subject_name(certificate));
    const std::string names = "DNS:" + name;
    X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, names.c_str());
    X509_add_ext(certificate, extension, -1);
    X509_EXTENSION_free(extension);
    X509_sign(certificate, key, EVP_sha256());
    FILE* file = std::fopen(ca_file_.c_str(), "w");
    PEM_write_X509(file, certificate);
    std::fclose(file);
    CHECK(SSL_CTX_use_certificate(context_, certificate) == 1 && SSL_CTX_use_PrivateKey(context_, key) == 1);
    X509_free(certificate);
    EVP_PKEY_free(key);
  }

  void serve() {
    for (;;) {
      const int socket = ::accept(listening_, nullptr, nullptr);
      if (socket < 0) return;
      SSL* ssl = SSL_new(context_);
      SSL_set_fd(ssl, socket);
      if (SSL_accept(ssl) == 1) {
        char bytes[4096];
        const int got = SSL_read(ssl, bytes, sizeof bytes);
        request.assign(bytes, static_cast<size_t>(std::max(got, 0)));
        const std::string answer = "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\npicture";
        SSL_write(ssl, answer.data(), static_cast<int>(answer.size()));
        SSL_shutdown(ssl);
      }
      SSL_free(ssl);
      ::close(socket);
    }
  }

  std::string ca_file_;
  SSL_CTX* context_ = SSL_CTX_new(TLS_server_method());
  int listening_ = -1;
  int port_ = 0;
  std::thread thread_;
};

}  // namespace heed
