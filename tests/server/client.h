// A raw HTTP client for tests: sends any bytes, and reads answers with a guard against waiting for ever.
#pragma once
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace heed::test {

struct Response {
  int status = 0;
  std::string version;
  std::map<std::string, std::string> fields;  // names in lower case; the last of equal ones
  std::string head;                           // as sent
  std::string body;
  bool is_whole = false;
};

class Client {
 public:
  static constexpr int kPatience = 20000;  // milliseconds; only a hang waits so long

  explicit Client(int port, int receive_buffer = 0) : fd_(::socket(AF_INET, SOCK_STREAM, 0)) {
    if (receive_buffer > 0) {
      setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
    }
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = ::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;
  Client(Client&& other) noexcept
      : fd_(std::exchange(other.fd_, -1)), connected_(other.connected_), read_(std::move(other.read_)) {}
  ~Client() { close(); }

  bool connected() const { return connected_; }
  int fd() const { return fd_; }
  void close() {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }
  void reset() {  // as a process does that is killed with unread bytes
    const linger now{1, 0};
    setsockopt(fd_, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    close();
  }
  void finish_sending() const { ::shutdown(fd_, SHUT_WR); }

  // False where the other end no longer takes bytes.
  bool send(std::string_view bytes) const {
    while (!bytes.empty()) {
      const ssize_t sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return false;
      bytes.remove_prefix(static_cast<size_t>(sent));
    }
    return true;
  }

  // Reads some bytes more; false at the end, after a reset and when patience ends.
  bool read_some() {
    pollfd wait{fd_, POLLIN, 0};
    if (::poll(&wait, 1, kPatience) <= 0) {
      hung_ = true;
      return false;
    }
    char bytes[16384];
    const ssize_t got = ::recv(fd_, bytes, sizeof bytes, 0);
    if (got <= 0) return false;
    read_.append(bytes, static_cast<size_t>(got));
    return true;
  }
  bool hung() const { return hung_; }

  std::string read_to_end() {
    while (read_some()) {
    }
    return std::exchange(read_, {});
  }
  // Everything up to and including `mark`; shorter where the connection ends first.
  std::string read_until(std::string_view mark) {
    size_t found = read_.find(mark);
    while (found == std::string::npos && read_some()) found = read_.find(mark);
    const size_t count = found == std::string::npos ? read_.size() : found + mark.size();
    std::string taken = read_.substr(0, count);
    read_.erase(0, count);
    return taken;
  }
  std::string read_bytes(size_t count) {
    while (read_.size() < count && read_some()) {
    }
    std::string taken = read_.substr(0, count);
    read_.erase(0, taken.size());
    return taken;
  }

  // One answer, by its Content-Length, its chunks, or to the end of the connection.
  Response response(bool has_body = true) {
    Response answer;
    answer.head = read_until("\r\n\r\n");
    parse_head(answer);
    if (answer.status == 0 || answer.status == 100 || !has_body) return answer;
    if (answer.fields.contains("content-length")) {
      const size_t length = std::strtoull(answer.fields["content-length"].c_str(), nullptr, 10);
      answer.body = read_bytes(length);
      answer.is_whole = answer.body.size() == length;
    } else if (answer.fields.contains("transfer-encoding")) {
      read_chunks(answer);
    } else {
      answer.body = read_to_end();
      answer.is_whole = true;
    }
    return answer;
  }
  Response ask(std::string_view request, bool has_body = true) {
    send(request);
    return response(has_body);
  }

 private:
  static void parse_head(Response& answer) {
    if (!answer.head.ends_with("\r\n\r\n")) return;
    answer.version = answer.head.substr(0, 8);
    answer.status = std::atoi(answer.head.c_str() + 9);
    size_t begin = answer.head.find("\r\n") + 2;
    while (begin + 2 < answer.head.size()) {
      const size_t end = answer.head.find("\r\n", begin);
      const size_t colon = answer.head.find(": ", begin);
      std::string name = answer.head.substr(begin, colon - begin);
      for (char& c : name) c = static_cast<char>(std::tolower(c));
      answer.fields[name] = answer.head.substr(colon + 2, end - colon - 2);
      begin = end + 2;
    }
  }
  void read_chunks(Response& answer) {
    for (;;) {
      const std::string line = read_until("\r\n");
      if (!line.ends_with("\r\n")) return;
      const size_t length = std::strtoull(line.c_str(), nullptr, 16);
      const std::string chunk = read_bytes(length + 2);
      if (chunk.size() != length + 2) return;
      answer.body.append(chunk, 0, length);
      if (length == 0) {
        answer.is_whole = true;
        return;
      }
    }
  }

  int fd_;
  bool connected_ = false;
  bool hung_ = false;
  std::string read_;
};

inline std::string get(std::string_view target, std::string_view fields = "") {
  return "GET " + std::string(target) + " HTTP/1.1\r\nHost: localhost\r\n" + std::string(fields) + "\r\n";
}
inline std::string post(std::string_view target, std::string_view body, std::string_view fields = "") {
  return "POST " + std::string(target) +
         " HTTP/1.1\r\nHost: localhost\r\nContent-Length: " + std::to_string(body.size()) + "\r\n" +
         std::string(fields) + "\r\n" + std::string(body);
}

}  // namespace heed::test
