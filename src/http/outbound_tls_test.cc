// Calls to real TLS servers: whom the client believes, and how old a protocol it still speaks.
#include <gtest/gtest.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>

#include "http/outbound_client.h"
#include "http/test_support.h"

namespace fettle::http {
namespace {

constexpr long kDaySeconds = 86'400;

template <auto kFree>
struct Free {
  template <class T>
  void operator()(T* held) const {
    kFree(held);
  }
};
using Key = std::unique_ptr<EVP_PKEY, Free<EVP_PKEY_free>>;
using Certificate = std::unique_ptr<X509, Free<X509_free>>;
using Context = std::unique_ptr<SSL_CTX, Free<SSL_CTX_free>>;

struct Identity {
  Key key;
  Certificate certificate;
};

void extend(X509* certificate, X509* issuer, int what, const char* value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, what, value);
  X509_add_ext(certificate, extension, -1);
  X509_EXTENSION_free(extension);
}

// An authority when `issuer` is null, else a server's certificate for `dns_name`.
Identity make_identity(const Identity* issuer, const std::string& dns_name, long from_seconds, long until_seconds) {
  static std::atomic<long> serial{1};
  Identity made{Key(EVP_EC_gen("P-256")), Certificate(X509_new())};
  X509* const certificate = made.certificate.get();
  X509_set_version(certificate, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate), serial++);
  X509_gmtime_adj(X509_getm_notBefore(certificate), from_seconds);
  X509_gmtime_adj(X509_getm_notAfter(certificate), until_seconds);
  X509_set_pubkey(certificate, made.key.get());
  X509_NAME* const name = X509_get_subject_name(certificate);
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, reinterpret_cast<const unsigned char*>(dns_name.c_str()), -1, -1,
                             0);
  X509* const by = issuer != nullptr ? issuer->certificate.get() : certificate;
  X509_set_issuer_name(certificate, X509_get_subject_name(by));
  extend(certificate, by, NID_basic_constraints, issuer != nullptr ? "critical,CA:FALSE" : "critical,CA:TRUE");
  if (issuer != nullptr) extend(certificate, by, NID_subject_alt_name, ("DNS:" + dns_name).c_str());
  X509_sign(certificate, issuer != nullptr ? issuer->key.get() : made.key.get(), EVP_sha256());
  return made;
}

// Answers each request with 200 and "taken", once there was a handshake.
class TlsServer {
 public:
  TlsServer(const Identity& identity, int version_max) : context_(SSL_CTX_new(TLS_server_method())) {
    SSL_CTX_use_certificate(context_.get(), identity.certificate.get());
    SSL_CTX_use_PrivateKey(context_.get(), identity.key.get());
    if (version_max != 0) {
      // Else this OpenSSL itself would not speak it.
      SSL_CTX_set_security_level(context_.get(), 0);
      SSL_CTX_set_min_proto_version(context_.get(), version_max);
      SSL_CTX_set_max_proto_version(context_.get(), version_max);
    }
    // A client that does not believe the server leaves in the middle of the handshake.
    std::signal(SIGPIPE, SIG_IGN);
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in own{};
    own.sin_family = AF_INET;
    own.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof own;
    EXPECT_EQ(::bind(listener_, reinterpret_cast<sockaddr*>(&own), size), 0);
    EXPECT_EQ(::listen(listener_, 8), 0);
    EXPECT_EQ(::getsockname(listener_, reinterpret_cast<sockaddr*>(&own), &size), 0);
    port_ = ntohs(own.sin_port);
    thread_ = std::jthread([this] { serve(); });
  }
  ~TlsServer() {
    ::shutdown(listener_, SHUT_RDWR);
    thread_.join();
    ::close(listener_);
  }
  std::string url(const std::string& name) const { return "https://" + name + ":" + std::to_string(port_) + "/hook"; }
  int requests() const { return requests_; }

 private:
  void serve() {
    for (;;) {
      const int socket = ::accept(listener_, nullptr, nullptr);
      if (socket < 0) return;
      const timeval patience{.tv_sec = 10, .tv_usec = 0};
      ::setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
      const std::unique_ptr<SSL, Free<SSL_free>> tls(SSL_new(context_.get()));
      SSL_set_fd(tls.get(), socket);
      if (SSL_accept(tls.get()) == 1) answer(tls.get());
      ERR_clear_error();
      ::close(socket);
    }
  }
  void answer(SSL* tls) {
    std::string request;
    char bytes[4'096];
    while (!request.ends_with("\r\n\r\n{}")) {
      const int count = SSL_read(tls, bytes, sizeof bytes);
      if (count <= 0) return;
      request.append(bytes, static_cast<std::size_t>(count));
    }
    ++requests_;
    static constexpr std::string_view kAnswer =
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\ntaken";
    SSL_write(tls, kAnswer.data(), static_cast<int>(kAnswer.size()));
    SSL_shutdown(tls);
  }

  const Context context_;
  int listener_ = -1;
  int port_ = 0;
  std::atomic<int> requests_{0};
  std::jthread thread_;
};

// Every name is this machine.
class LoopbackResolver final : public Resolver {
 public:
  Result<std::vector<IpAddress>> resolve(const std::string&, std::chrono::milliseconds,
                                         const std::stop_token&) override {
    return std::vector<IpAddress>{*IpAddress::parse("127.0.0.1")};
  }
};

class OutboundTls : public testing::Test {
 protected:
  OutboundTls() {
    std::string name = (std::filesystem::temp_directory_path() / "fettle-ca-XXXXXX").string();
    ::close(::mkstemp(name.data()));
    ca_file_ = name;
    FILE* const file = std::fopen(name.c_str(), "w");
    PEM_write_X509(file, authority_.certificate.get());
    std::fclose(file);
    client_ = std::make_unique<OutboundClient>(
        OutboundClient::Options{.allow = {*Cidr::parse("127.0.0.0/8")}, .ca_file = ca_file_.string()}, resolver_);
  }
  ~OutboundTls() override { std::filesystem::remove(ca_file_); }

  Identity server_identity(long from_days = -1, long until_days = 1) const {
    return make_identity(&authority_, "hook.example", from_days * kDaySeconds, until_days * kDaySeconds);
  }
  Result<OutboundAnswer> send(const TlsServer& server, const std::string& name = "hook.example") const {
    return client_->send({.url = server.url(name), .body = "{}"});
  }
  // Not a request reaches a server that the client does not believe.
  void expect_refused(const TlsServer& server, const std::string& name = "hook.example") const {
    const auto answer = send(server, name);
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().code(), ErrorCode::kUnavailable) << answer.error().message();
    EXPECT_TRUE(answer.error().message().contains("SSL")) << answer.error().message();
    EXPECT_EQ(server.requests(), 0);
  }

  const Identity authority_ = make_identity(nullptr, "Test Authority", -kDaySeconds, kDaySeconds);
  std::filesystem::path ca_file_;
  LoopbackResolver resolver_;
  std::unique_ptr<OutboundClient> client_;
};

TEST_F(OutboundTls, AReceiverOfAnAuthorityOfOnesOwnIsCalled) {
  const TlsServer server(server_identity(), 0);
  const auto answer = send(server);
  ASSERT_TRUE(answer) << answer.error().message();
  EXPECT_EQ(answer->response.status, 200);
  EXPECT_EQ(answer->response.body, "taken");
  EXPECT_EQ(server.requests(), 1);
}

TEST_F(OutboundTls, TheOldestProtocolIsTls12) {
  const TlsServer newer(server_identity(), TLS1_2_VERSION);
  const auto answer = send(newer);
  EXPECT_TRUE(answer) << answer.error().message();
  for (const int version : {TLS1_VERSION, TLS1_1_VERSION}) {
    const TlsServer older(server_identity(), version);
    expect_refused(older);
  }
}

TEST_F(OutboundTls, AnotherNamesCertificateIsRefused) {
  const TlsServer server(server_identity(), 0);
  expect_refused(server, "other.example");
}

TEST_F(OutboundTls, ACertificateThatHasRunOutOrHasNotBegunIsRefused) {
  const TlsServer over(server_identity(-3, -2), 0);
  expect_refused(over);
  const TlsServer early(server_identity(2, 3), 0);
  expect_refused(early);
}

TEST_F(OutboundTls, AnAuthorityThatNobodyNamedIsRefused) {
  const Identity other = make_identity(nullptr, "Test Authority", -kDaySeconds, kDaySeconds);
  const TlsServer server(make_identity(&other, "hook.example", -kDaySeconds, kDaySeconds), 0);
  expect_refused(server);
}

}  // namespace
}  // namespace fettle::http
