// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "platform/base/result.h"

namespace simplon::ipsec::vici {

struct Entry;

/// A VICI message or one of its sections: named texts, lists of texts and sections, in order. Texts are bytes.
class Section {
 public:
  using List = std::vector<std::string>;

  /// Appends; names are not checked for being unique (charon does not either).
  Section& set(std::string name, std::string text);
  Section& set(std::string name, List list);
  Section& set(std::string name, Section section);

  /// First entry of that name and kind; nullptr, or an empty text, if there is none.
  [[nodiscard]] const Section* section(std::string_view name) const noexcept;
  [[nodiscard]] const List* list(std::string_view name) const noexcept;
  [[nodiscard]] std::string_view text(std::string_view name) const noexcept;
  [[nodiscard]] bool is_yes(std::string_view name) const noexcept { return text(name) == "yes"; }
  /// Decimal, or the default for anything else.
  [[nodiscard]] std::uint64_t number(std::string_view name, std::uint64_t otherwise = 0) const noexcept;
  /// Hexadecimal without prefix, as charon writes SPIs and interface ids; 0 for anything else.
  [[nodiscard]] std::uint32_t hex(std::string_view name) const noexcept;

  [[nodiscard]] const std::vector<Entry>& entries() const noexcept { return entries_; }
  /// Overwrites every text before letting it go: for messages with a pre-shared key.
  void wipe() noexcept;

  friend bool operator==(const Section&, const Section&);

 private:
  std::vector<Entry> entries_;
};

struct Entry {
  std::string name;
  std::variant<std::string, Section::List, Section> value;
  friend bool operator==(const Entry&, const Entry&) = default;
};

/// First byte of a packet.
enum class Operation : std::uint8_t {
  kCommand = 0,
  kResponse = 1,
  kUnknownCommand = 2,
  kRegister = 3,
  kUnregister = 4,
  kConfirm = 5,
  kUnknownEvent = 6,
  kEvent = 7,
};

/// One packet: what follows the length on the stream.
struct Packet {
  Operation operation = Operation::kCommand;
  /// Of a command or an event; empty for the others.
  std::string name;
  Section message;
  friend bool operator==(const Packet&, const Packet&) = default;
};

/// Given by charon: longer packets end the connection.
inline constexpr std::size_t kMaxPacketBytes = 512 * 1024;
/// Chosen by us; charon's own messages are nested four deep.
inline constexpr std::size_t kMaxDepth = 16;

using Bytes = std::vector<std::uint8_t>;

/// `bytes` is a packet without its length. Errors: kPeer, naming the offset. Never reads outside `bytes`.
[[nodiscard]] Result<Packet> parse_packet(std::span<const std::uint8_t> bytes);
/// With the length in front, ready for the stream. Errors: kInvalidConfig for a name over 255 bytes, a text over
/// 65535, sections over kMaxDepth or a packet over kMaxPacketBytes.
[[nodiscard]] Result<Bytes> encode_packet(const Packet& packet);

}  // namespace simplon::ipsec::vici
