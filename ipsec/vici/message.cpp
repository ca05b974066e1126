// SPDX-License-Identifier: GPL-2.0-or-later
// VICI's wire format (strongSwan, src/libcharon/plugins/vici/README.md, "Message format"):
//
//     packet   length(4) operation(1) [name length(1) name] element*
//     element  SECTION_START(1) name | SECTION_END | KEY_VALUE name value | LIST_START name | LIST_ITEM value |
//     LIST_END name     length(1) bytes          value    length(2) bytes         integers in network order
//
// Sections nest, lists hold values only. The parser keeps its own stack, so nesting costs no call depth.
#include "ipsec/vici/message.h"

#include <charconv>
#include <cstring>

namespace simplon::ipsec::vici {
namespace {

enum class Element : std::uint8_t {
  kSectionStart = 1,
  kSectionEnd = 2,
  kKeyValue = 3,
  kListStart = 4,
  kListItem = 5,
  kListEnd = 6,
};

bool is_named(Operation operation) {
  return operation == Operation::kCommand || operation == Operation::kRegister || operation == Operation::kUnregister ||
         operation == Operation::kEvent;
}

class Reader {
 public:
  explicit Reader(std::span<const std::uint8_t> bytes) : bytes_(bytes) {}

  [[nodiscard]] bool done() const { return at_ == bytes_.size(); }
  [[nodiscard]] std::size_t at() const { return at_; }

  bool byte(std::uint8_t& out) {
    if (done()) return false;
    out = bytes_[at_++];
    return true;
  }
  bool name(std::string& out) {
    std::uint8_t length = 0;
    return byte(length) && take(length, out);
  }
  bool value(std::string& out) {
    std::uint8_t high = 0;
    std::uint8_t low = 0;
    return byte(high) && byte(low) && take(static_cast<std::size_t>(high << 8 | low), out);
  }

 private:
  bool take(std::size_t length, std::string& out) {
    if (bytes_.size() - at_ < length) return false;
    const auto part = bytes_.subspan(at_, length);
    out.assign(part.begin(), part.end());
    at_ += length;
    return true;
  }

  std::span<const std::uint8_t> bytes_;
  std::size_t at_ = 0;
};

Unexpected broken(const Reader& reader, const char* what) {
  return fail(ErrorCode::kPeer, "VICI message is broken at byte " + std::to_string(reader.at()) + ": " + what);
}

struct Open {
  std::string name;
  Section section;
};

Result<Section> parse_elements(Reader& reader) {
  std::vector<Open> open(1);  // the message itself at the bottom
  while (!reader.done()) {
    std::uint8_t kind = 0;
    std::string name;
    std::string value;
    reader.byte(kind);
    switch (static_cast<Element>(kind)) {
      case Element::kSectionStart:
        if (!reader.name(name)) return broken(reader, "section without a name");
        if (open.size() > kMaxDepth) return broken(reader, "sections nested too deep");
        open.push_back({std::move(name), {}});
        break;
      case Element::kSectionEnd: {
        if (open.size() == 1) return broken(reader, "end of a section that was not started");
        Open closed = std::move(open.back());
        open.pop_back();
        open.back().section.set(std::move(closed.name), std::move(closed.section));
        break;
      }
      case Element::kKeyValue:
        if (!reader.name(name) || !reader.value(value)) return broken(reader, "truncated key or value");
        open.back().section.set(std::move(name), std::move(value));
        break;
      case Element::kListStart: {
        if (!reader.name(name)) return broken(reader, "list without a name");
        Section::List list;
        for (;;) {
          if (!reader.byte(kind)) return broken(reader, "list without an end");
          if (static_cast<Element>(kind) == Element::kListEnd) break;
          if (static_cast<Element>(kind) != Element::kListItem) return broken(reader, "something else in a list");
          if (!reader.value(value)) return broken(reader, "truncated list item");
          list.push_back(std::move(value));
        }
        open.back().section.set(std::move(name), std::move(list));
        break;
      }
      case Element::kListItem:
      case Element::kListEnd:
        return broken(reader, "list item outside a list");
      default:
        return broken(reader, "unknown element");
    }
  }
  if (open.size() != 1) return broken(reader, "section without an end");
  return std::move(open.front().section);
}

class Writer {
 public:
  explicit Writer(Bytes& out) : out_(out) {}

  void byte(std::uint8_t value) { out_.push_back(value); }
  bool name(const std::string& text) {
    if (text.size() > 0xff) return false;
    byte(static_cast<std::uint8_t>(text.size()));
    out_.insert(out_.end(), text.begin(), text.end());
    return true;
  }
  bool value(const std::string& text) {
    if (text.size() > 0xffff) return false;
    byte(static_cast<std::uint8_t>(text.size() >> 8));
    byte(static_cast<std::uint8_t>(text.size()));
    out_.insert(out_.end(), text.begin(), text.end());
    return true;
  }
  void element(Element element) { byte(static_cast<std::uint8_t>(element)); }

 private:
  Bytes& out_;
};

Unexpected too_long(const std::string& name) {
  return fail(ErrorCode::kInvalidConfig, "'" + name + "' or its value is too long for VICI",
              "names have at most 255 bytes, values 65535");
}

Result<void> write_section(Writer& writer, const Section& section, std::size_t depth) {
  if (depth > kMaxDepth) return fail(ErrorCode::kInvalidConfig, "VICI sections are nested too deep");
  for (const Entry& entry : section.entries()) {
    if (const auto* text = std::get_if<std::string>(&entry.value)) {
      writer.element(Element::kKeyValue);
      if (!writer.name(entry.name) || !writer.value(*text)) return too_long(entry.name);
    } else if (const auto* list = std::get_if<Section::List>(&entry.value)) {
      writer.element(Element::kListStart);
      if (!writer.name(entry.name)) return too_long(entry.name);
      for (const std::string& item : *list) {
        writer.element(Element::kListItem);
        if (!writer.value(item)) return too_long(entry.name);
      }
      writer.element(Element::kListEnd);
    } else if (const auto* child = std::get_if<Section>(&entry.value)) {
      writer.element(Element::kSectionStart);
      if (!writer.name(entry.name)) return too_long(entry.name);
      if (auto written = write_section(writer, *child, depth + 1); !written) return written;
      writer.element(Element::kSectionEnd);
    }
  }
  return {};
}

template <class T>
const T* find(const std::vector<Entry>& entries, std::string_view name) noexcept {
  for (const Entry& entry : entries) {
    if (entry.name == name) {
      if (const T* value = std::get_if<T>(&entry.value)) return value;
    }
  }
  return nullptr;
}

}  // namespace

bool operator==(const Section& left, const Section& right) { return left.entries_ == right.entries_; }

Section& Section::set(std::string name, std::string text) {
  entries_.push_back({std::move(name), std::move(text)});
  return *this;
}

Section& Section::set(std::string name, List list) {
  entries_.push_back({std::move(name), std::move(list)});
  return *this;
}

Section& Section::set(std::string name, Section section) {
  entries_.push_back({std::move(name), std::move(section)});
  return *this;
}

const Section* Section::section(std::string_view name) const noexcept { return find<Section>(entries_, name); }

const Section::List* Section::list(std::string_view name) const noexcept { return find<List>(entries_, name); }

std::string_view Section::text(std::string_view name) const noexcept {
  const auto* value = find<std::string>(entries_, name);
  return value == nullptr ? std::string_view{} : std::string_view{*value};
}

std::uint64_t Section::number(std::string_view name, std::uint64_t otherwise) const noexcept {
  const std::string_view digits = text(name);
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  return error == std::errc{} && end == digits.data() + digits.size() ? value : otherwise;
}

std::uint32_t Section::hex(std::string_view name) const noexcept {
  const std::string_view digits = text(name);
  std::uint32_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
  return error == std::errc{} && end == digits.data() + digits.size() ? value : 0;
}

void Section::wipe() noexcept {
  for (Entry& entry : entries_) {
    if (auto* text = std::get_if<std::string>(&entry.value)) {
      explicit_bzero(text->data(), text->size());
    } else if (auto* child = std::get_if<Section>(&entry.value)) {
      child->wipe();
    }
  }
  entries_.clear();
}

Result<Packet> parse_packet(std::span<const std::uint8_t> bytes) {
  Reader reader(bytes);
  if (bytes.size() > kMaxPacketBytes) return broken(reader, "longer than 512 KiB");
  std::uint8_t operation = 0;
  if (!reader.byte(operation)) return broken(reader, "empty packet");
  if (operation > static_cast<std::uint8_t>(Operation::kEvent)) return broken(reader, "unknown operation");
  Packet packet;
  packet.operation = static_cast<Operation>(operation);
  if (is_named(packet.operation) && !reader.name(packet.name)) return broken(reader, "packet without its name");
  auto message = parse_elements(reader);
  if (!message) return Unexpected(std::move(message.error()));
  packet.message = std::move(*message);
  return packet;
}

Result<Bytes> encode_packet(const Packet& packet) {
  Bytes out(4);
  out.reserve(4096);  // one allocation for what may hold a key
  Writer writer(out);
  writer.byte(static_cast<std::uint8_t>(packet.operation));
  if (is_named(packet.operation) && !writer.name(packet.name)) return too_long(packet.name);
  if (auto written = write_section(writer, packet.message, 0); !written) {
    explicit_bzero(out.data(), out.size());
    return Unexpected(std::move(written.error()));
  }
  const std::size_t length = out.size() - 4;
  if (length > kMaxPacketBytes) {
    return fail(ErrorCode::kInvalidConfig, "a VICI message of " + std::to_string(length) + " bytes is too long",
                "at most 512 KiB");
  }
  for (std::size_t i = 0; i < 4; ++i) out[i] = static_cast<std::uint8_t>(length >> (24 - 8 * i));
  return out;
}

}  // namespace simplon::ipsec::vici
