// Which addresses of the Internet are strangers' and not our own.
#pragma once
#include <string>

namespace heed {

// Whether packets to this address ("192.0.2.1", "2001:db8::1") leave for one host somewhere on the public
// Internet. Not: private and shared networks, this host, this link, documentation, benchmarks, multicast,
// everything reserved; nor addresses of IPv6 that stand for ones of IPv4 (mapped, NAT64, 6to4, Teredo). False
// for what is no address. Source: IANA's registries of special-purpose addresses.
bool is_public_address(const std::string& address);

}  // namespace heed
