#include "fetch/look_up.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>

#include <array>
#include <chrono>
#include <future>
#include <system_error>
#include <thread>

namespace heed {
namespace {

std::string text_of(const addrinfo& entry) {
  const void* bytes = nullptr;
  if (entry.ai_family == AF_INET) {
    bytes = &reinterpret_cast<const sockaddr_in*>(entry.ai_addr)->sin_addr;
  } else if (entry.ai_family == AF_INET6) {
    bytes = &reinterpret_cast<const sockaddr_in6*>(entry.ai_addr)->sin6_addr;
  }
  std::array<char, INET6_ADDRSTRLEN> text = {};
  const bool known = bytes && ::inet_ntop(entry.ai_family, bytes, text.data(), text.size());
  return known ? text.data() : "";
}

Result<std::vector<std::string>> ask_resolver(const std::string& host) {
  addrinfo hints = {};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_ADDRCONFIG;
  addrinfo* found = nullptr;
  if (const int error = ::getaddrinfo(host.c_str(), nullptr, &hints, &found); error != 0) {
    const std::string message = host + ": " + ::gai_strerror(error);
    return error == EAI_AGAIN || error == EAI_MEMORY || error == EAI_SYSTEM ? busy(message)
                                                                            : not_found(message);
  }
  std::vector<std::string> addresses;
  for (const addrinfo* entry = found; entry; entry = entry->ai_next) {
    if (std::string text = text_of(*entry); !text.empty()) addresses.push_back(std::move(text));
  }
  ::freeaddrinfo(found);
  if (addresses.empty()) return not_found(host + ": it has no address");
  return addresses;
}

}  // namespace

Result<std::vector<std::string>> look_up(const std::string& host, double seconds) {
  std::promise<Result<std::vector<std::string>>> answer;
  auto answered = answer.get_future();
  try {
    std::thread([host, answer = std::move(answer)]() mutable {
      answer.set_value(ask_resolver(host));
    }).detach();
  } catch (const std::system_error&) {
    return busy(host + ": there are too many threads to look it up");
  }
  if (answered.wait_for(std::chrono::duration<double>(seconds)) != std::future_status::ready) {
    return limit_reached(host + ": looking up its address took too long");
  }
  return answered.get();
}

}  // namespace heed
