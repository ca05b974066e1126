// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/ipc/src/table_fields.h"

#include <algorithm>
#include <utility>

namespace simplon::ipc {
namespace {

// Given by RFC 7348 section 5.
constexpr std::uint32_t kMaxVni = 0xffffff;

}  // namespace

IpAddress Fields::address(const FbBytes* bytes, const char* field) {
  if (bytes != nullptr) {
    if (auto parsed = IpAddress::from_bytes({bytes->data(), bytes->size()})) return *parsed;
  }
  refuse(std::string(field) + " is not an address of 4 or 16 bytes");
  return {};
}

MacAddress Fields::mac(const FbBytes* bytes, const char* field) {
  MacAddress mac;
  if (bytes != nullptr && bytes->size() == mac.bytes.size()) {
    std::copy(bytes->begin(), bytes->end(), mac.bytes.begin());
  } else {
    refuse(std::string(field) + " is not a MAC address of 6 bytes");
  }
  return mac;
}

InterfaceAddress Fields::interface_address(const fb::Prefix* prefix, const char* field) {
  if (prefix == nullptr) {
    refuse(std::string(field) + " is missing");
    return {};
  }
  InterfaceAddress result{address(prefix->address(), field), prefix->length()};
  if (result.length > result.address.bits()) refuse(std::string(field) + " has a length of " + std::to_string(result.length));
  return result;
}

IpPrefix Fields::prefix(const fb::Prefix* given, const char* field) {
  const InterfaceAddress address = interface_address(given, field);
  if (error_.empty() && address.network().address() != address.address) {
    refuse(std::string(field) + " " + address.to_string() + " has host bits set");
  }
  return address.network();
}

Vni Fields::vni(std::uint32_t value) {
  if (value == 0 || value > kMaxVni) refuse("VNI " + std::to_string(value) + " is not within 1 to 16777215");
  return Vni(value);
}

AttachmentRef Fields::attachment(fb::AttachmentKind kind, std::uint32_t id) {
  if (kind < fb::AttachmentKind::Vpc || kind > fb::AttachmentKind::Circuit) {
    refuse("attachment kind " + std::to_string(static_cast<unsigned>(kind)) + " is unknown");
  } else if (id == 0) {
    refuse("attachment id is 0");
  }
  return {static_cast<AttachmentKind>(kind), id};
}

std::string Fields::name(const flatbuffers::String* string, const char* field, std::size_t max) {
  std::string name = text_of(string);
  if (name.empty() || name.size() > max || name.find('/') != std::string::npos || name.find('\0') != std::string::npos) {
    refuse(std::string(field) + " '" + name + "' is not a name of 1 to " + std::to_string(max) + " characters");
  }
  return name;
}

std::vector<IpPrefix> Fields::prefixes(const flatbuffers::Vector<flatbuffers::Offset<fb::Prefix>>* given, const char* field) {
  std::vector<IpPrefix> all;
  if (given == nullptr) return all;
  for (const auto* one : *given) all.push_back(prefix(one, field));
  return all;
}

std::vector<NumberRange> Fields::ranges(const flatbuffers::Vector<flatbuffers::Offset<fb::NumberRange>>* given, const char* field) {
  std::vector<NumberRange> all;
  if (given == nullptr) return all;
  for (const auto* one : *given) {
    if (one->first() > one->last()) refuse(std::string(field) + " has an empty range");
    all.push_back({one->first(), one->last()});
  }
  return all;
}

void Fields::refuse(std::string why) {
  if (error_.empty()) error_ = std::move(why);
}

}  // namespace simplon::ipc
