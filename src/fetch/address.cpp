#include "fetch/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>

namespace heed {
namespace {

struct Ipv4Block {
  uint32_t first;
  int bits;  // that all its addresses share
};

constexpr uint32_t ipv4(uint32_t a, uint32_t b, uint32_t c, uint32_t d) {
  return a << 24 | b << 16 | c << 8 | d;
}

constexpr Ipv4Block kSpecialIpv4[] = {
    {ipv4(0, 0, 0, 0), 8},        // this network
    {ipv4(10, 0, 0, 0), 8},       // private
    {ipv4(100, 64, 0, 0), 10},    // shared with a carrier's customers
    {ipv4(127, 0, 0, 0), 8},      // this host
    {ipv4(169, 254, 0, 0), 16},   // this link; clouds' metadata
    {ipv4(172, 16, 0, 0), 12},    // private
    {ipv4(192, 0, 0, 0), 24},     // protocols
    {ipv4(192, 0, 2, 0), 24},     // documentation
    {ipv4(192, 88, 99, 0), 24},   // relays of 6to4
    {ipv4(192, 168, 0, 0), 16},   // private
    {ipv4(198, 18, 0, 0), 15},    // benchmarks
    {ipv4(198, 51, 100, 0), 24},  // documentation
    {ipv4(203, 0, 113, 0), 24},   // documentation
    {ipv4(224, 0, 0, 0), 3},      // multicast and reserved, up to the broadcast address
};

struct Ipv6Block {
  std::array<uint8_t, 4> first;
  int bits;
};

// Of 2000::/3, which is all that has been given out.
constexpr Ipv6Block kGivenOut = {{0x20, 0, 0, 0}, 3};
constexpr Ipv6Block kSpecialIpv6[] = {
    {{0x20, 0x01, 0x00, 0x00}, 23},  // protocols, among them Teredo, benchmarks, ORCHID
    {{0x20, 0x01, 0x0d, 0xb8}, 32},  // documentation
    {{0x20, 0x02, 0x00, 0x00}, 16},  // 6to4
    {{0x3f, 0xff, 0x00, 0x00}, 20},  // documentation
};

uint32_t first_32_bits(std::span<const uint8_t> bytes) {
  return ipv4(bytes[0], bytes[1], bytes[2], bytes[3]);
}

bool is_within(uint32_t address, uint32_t first, int bits) { return (address ^ first) >> (32 - bits) == 0; }
bool is_within(std::span<const uint8_t> address, const Ipv6Block& block) {
  return is_within(first_32_bits(address), first_32_bits(block.first), block.bits);
}

}  // namespace

bool is_public_address(const std::string& address) {
  std::array<uint8_t, sizeof(in6_addr)> bytes = {};
  if (::inet_pton(AF_INET, address.c_str(), bytes.data()) == 1) {
    return std::none_of(std::begin(kSpecialIpv4), std::end(kSpecialIpv4), [&](const Ipv4Block& block) {
      return is_within(first_32_bits(bytes), block.first, block.bits);
    });
  }
  if (::inet_pton(AF_INET6, address.c_str(), bytes.data()) != 1 || !is_within(bytes, kGivenOut)) return false;
  return std::none_of(std::begin(kSpecialIpv6), std::end(kSpecialIpv6),
                      [&](const Ipv6Block& block) { return is_within(bytes, block); });
}

}  // namespace heed
