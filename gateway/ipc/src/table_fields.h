// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <flatbuffers/flatbuffers.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "gateway/ipc/table_protocol.h"
#include "table_generated.h"

namespace simplon::ipc {

using FbBytes = flatbuffers::Vector<std::uint8_t>;

[[nodiscard]] inline std::string text_of(const flatbuffers::String* string) {
  return string == nullptr ? std::string{} : string->str();
}

/// What the verifier of FlatBuffers cannot know of a field: that an address has 4 or 16 bytes, that a VNI has 24 bits.
///
/// Each function returns the checked value. The first error is kept and the field's value is then of no use, so that the
/// list of an object's fields reads as a list: whoever decodes asks for `error()` once, at the end.
class Fields {
 public:
  [[nodiscard]] IpAddress address(const FbBytes* bytes, const char* field);
  [[nodiscard]] MacAddress mac(const FbBytes* bytes, const char* field);
  [[nodiscard]] InterfaceAddress interface_address(const fb::Prefix* prefix, const char* field);
  [[nodiscard]] IpPrefix prefix(const fb::Prefix* given, const char* field);
  [[nodiscard]] std::vector<IpPrefix> prefixes(const flatbuffers::Vector<flatbuffers::Offset<fb::Prefix>>* given, const char* field);
  [[nodiscard]] std::vector<NumberRange> ranges(const flatbuffers::Vector<flatbuffers::Offset<fb::NumberRange>>* given,
                                                const char* field);
  [[nodiscard]] Vni vni(std::uint32_t value);
  template <class Id>
  [[nodiscard]] Id id(std::uint32_t value, const char* field) {
    if (value == 0) refuse(std::string(field) + " is 0");
    return Id(value);
  }
  [[nodiscard]] AttachmentRef attachment(fb::AttachmentKind kind, std::uint32_t id);
  /// One that names something in the kernel or the configuration: not empty, no slash, no zero byte.
  [[nodiscard]] std::string name(const flatbuffers::String* string, const char* field, std::size_t max);

  void refuse(std::string why);
  [[nodiscard]] const std::string& error() const { return error_; }

 private:
  std::string error_;
};

}  // namespace simplon::ipc
