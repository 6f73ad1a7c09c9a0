// The same server under TLS, with certificates made here.
#include <gtest/gtest.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <filesystem>

#include "tests/server/fixture.h"

namespace heed::test {
namespace {

// A key and a certificate signed with it, as PEM files that vanish with this.
class SelfSigned {
 public:
  explicit SelfSigned(const std::string& name) {
    const std::string place =
        std::filesystem::temp_directory_path() / ("heed_tls_" + std::to_string(getpid()) + name);
    certfile = place + ".crt";
    keyfile = place + ".key";
    encrypted_keyfile = place + ".enc";
    EVP_PKEY* key = EVP_EC_gen("P-256");
    X509* certificate = X509_new();
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
    X509_gmtime_adj(X509_getm_notBefore(certificate), 0);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
    X509_set_pubkey(certificate, key);
    X509_NAME* subject = X509_get_subject_name(certificate);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC,
                               reinterpret_cast<const unsigned char*>("localhost"), -1, -1, 0);
    X509_set_issuer_name(certificate, subject);
    X509_sign(certificate, key, EVP_sha256());
    FILE* file = fopen(certfile.c_str(), "w");
    PEM_write_X509(file, certificate);
    fclose(file);
    file = fopen(keyfile.c_str(), "w");
    PEM_write_PrivateKey(file, key, nullptr, nullptr, 0, nullptr, nullptr);
    fclose(file);
    file = fopen(encrypted_keyfile.c_str(), "w");
    PEM_write_PrivateKey(file, key, EVP_aes_128_cbc(), nullptr, 0, nullptr, const_cast<char*>("password"));
    fclose(file);
    X509_free(certificate);
    EVP_PKEY_free(key);
  }
  SelfSigned(const SelfSigned&) = delete;
  ~SelfSigned() {
    for (const std::string& file : {certfile, keyfile, encrypted_keyfile}) std::filesystem::remove(file);
  }
  std::string certfile, keyfile, encrypted_keyfile;
};

class TlsClient {
 public:
  explicit TlsClient(int port, int max_version = 0)
      : client_(port), context_(SSL_CTX_new(TLS_client_method())) {
    if (max_version != 0) {
      SSL_CTX_set_security_level(context_, 0);
      SSL_CTX_set_min_proto_version(context_, max_version);
      SSL_CTX_set_max_proto_version(context_, max_version);
    }
    ssl_ = SSL_new(context_);
    SSL_set_fd(ssl_, client_.fd());
    connected_ = SSL_connect(ssl_) == 1;
    ERR_clear_error();
  }
  TlsClient(const TlsClient&) = delete;
  ~TlsClient() {
    SSL_free(ssl_);
    SSL_CTX_free(context_);
  }
  bool connected() const { return connected_; }
  std::string version() const { return SSL_get_version(ssl_); }
  void send(const std::string& bytes) { SSL_write(ssl_, bytes.data(), static_cast<int>(bytes.size())); }
  std::string read_until(const std::string& mark) {
    char bytes[16384];
    while (read_.find(mark) == std::string::npos) {
      const int got = SSL_read(ssl_, bytes, sizeof bytes);
      if (got <= 0) break;
      read_.append(bytes, static_cast<size_t>(got));
    }
    return std::exchange(read_, {});
  }
  // Everything to the end, and whether it was a proper one.
  std::pair<std::string, bool> read_to_end() {
    std::string all;
    char bytes[16384];
    int got = 0;
    while ((got = SSL_read(ssl_, bytes, sizeof bytes)) > 0) all.append(bytes, static_cast<size_t>(got));
    return {all, SSL_get_error(ssl_, got) == SSL_ERROR_ZERO_RETURN};
  }
  Client& socket() { return client_; }

 private:
  Client client_;
  SSL_CTX* context_;
  SSL* ssl_ = nullptr;
  bool connected_ = false;
  std::string read_;
};

class tls : public ServerTest {
 protected:
  ServerOptions options() {
    ServerOptions options;
    options.ssl_certfile = files_.certfile;
    options.ssl_keyfile = files_.keyfile;
    options.limits.handshake_seconds = 0.5;
    return options;
  }
  std::string refused(const std::string& certfile, const std::string& keyfile) {
    ServerOptions bad;
    bad.port = 0;
    bad.ssl_certfile = certfile;
    bad.ssl_keyfile = keyfile;
    const auto started = Server::start(bad, api_);
    return started.ok() ? std::string("started") : started.error().message;
  }
  SelfSigned files_{"a"};
};

TEST_F(tls, requests_and_streams_work_over_it) {
  start(options());
  TlsClient client(port());
  ASSERT_TRUE(client.connected());
  EXPECT_EQ(client.version(), "TLSv1.3");
  client.send(post("/a", std::string(100000, 'x')));
  EXPECT_TRUE(client.read_until(std::string(100000, 'x')).starts_with("HTTP/1.1 200 OK"));
  client.send(get("/stream"));
  EXPECT_NE(client.read_until("0\r\n\r\n").find("data: 4\n\n"), std::string::npos);
  client.send(get("/big") + get("/last", "Connection: close\r\n"));
  const auto [rest, proper] = client.read_to_end();
  EXPECT_GT(rest.size(), size_t{8} << 20);
  EXPECT_TRUE(rest.ends_with("GET /last? "));
  EXPECT_TRUE(proper);
}

TEST_F(tls, version_12_is_spoken_and_older_ones_are_not) {
  start(options());
  EXPECT_TRUE(TlsClient(port(), TLS1_2_VERSION).connected());
  EXPECT_FALSE(TlsClient(port(), TLS1_1_VERSION).connected());
}

TEST_F(tls, a_refusal_arrives_over_it) {
  start(options());
  TlsClient client(port());
  ASSERT_TRUE(client.connected());
  client.send("GET /%00 HTTP/1.1\r\nHost: h\r\n\r\n");
  const auto [all, proper] = client.read_to_end();
  EXPECT_TRUE(all.starts_with("HTTP/1.1 400 ")) << all;
  EXPECT_TRUE(proper);
}

TEST_F(tls, a_client_that_leaves_cancels_its_exchange) {
  start(options());
  TlsClient client(port());
  ASSERT_TRUE(client.connected());
  client.send(get("/hold"));
  const auto held = api_.held();
  ASSERT_TRUE(held);
  held->start();
  EXPECT_TRUE(held->write("data: 1\n\n"));
  EXPECT_NE(client.read_until("data: 1\n\n"), "");
  client.socket().close();
  EXPECT_TRUE(held->wait_for_cancel());
  EXPECT_TRUE(eventually([this] { return server_->connections() == 0; }));
}

TEST_F(tls, a_handshake_that_does_not_come_ends) {
  start(options());
  Client silent(port());
  Client plain(port());
  plain.send(get("/"));
  EXPECT_EQ(silent.read_to_end(), "");
  EXPECT_EQ(plain.read_to_end().find("HTTP"), std::string::npos);
  EXPECT_FALSE(silent.hung() || plain.hung());
  EXPECT_TRUE(TlsClient(port()).connected());
}

TEST_F(tls, bad_files_are_errors_that_name_them) {
  const SelfSigned other("b");
  EXPECT_EQ(refused(files_.certfile, ""), "ssl_certfile is given, but not ssl_keyfile");
  EXPECT_EQ(refused("", files_.keyfile), "ssl_keyfile is given, but not ssl_certfile");
  EXPECT_NE(refused("/nowhere.crt", files_.keyfile).find("/nowhere.crt"), std::string::npos);
  EXPECT_NE(refused(files_.certfile, "/nowhere.key").find("/nowhere.key"), std::string::npos);
  EXPECT_NE(refused(files_.keyfile, files_.keyfile).find("no PEM certificate"), std::string::npos);
  EXPECT_NE(refused(files_.certfile, files_.certfile).find("no PEM private key"), std::string::npos);
  EXPECT_NE(refused(files_.certfile, other.keyfile).find("does not belong to"), std::string::npos);
  EXPECT_NE(refused(files_.certfile, files_.encrypted_keyfile).find("encrypted"), std::string::npos);
}

}  // namespace
}  // namespace heed::test
