// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/forward/sa.h"

#include <array>
#include <span>
#include <string>
#include <utility>

#include "gateway/forward/src/tables/table_state.h"

namespace simplon::forward {
namespace {

bool is_everything(const Selector& selector) {
  if (selector.protocol != 0 || selector.port_from != 0 || selector.port_to != 65535) return false;
  for (const std::uint8_t byte : selector.from.bytes()) {
    if (byte != 0) return false;
  }
  for (const std::uint8_t byte : selector.to.bytes()) {
    if (byte != 255) return false;
  }
  return true;
}

bool selects_everything(const std::vector<Selector>& selectors, IpFamily family) {
  for (const Selector& selector : selectors) {
    if (selector.from.family() == family && is_everything(selector)) return true;
  }
  return selectors.empty();
}

Result<void> check(const std::vector<Selector>& selectors, const char* side) {
  for (const Selector& selector : selectors) {
    if (selector.from.family() != selector.to.family() || selector.to < selector.from ||
        selector.port_to < selector.port_from) {
      return fail(ErrorCode::kInvalidConfig, std::string(side) + " selector " + selector.from.to_string() + " to " +
                                                 selector.to.to_string() + " is not a range");
    }
  }
  return {};
}

bool matches(const std::vector<Selector>& selectors, const IpAddress& address, std::uint8_t protocol, bool ports,
             std::uint16_t port) {
  if (selectors.empty()) return true;
  for (const Selector& selector : selectors) {
    if (selector.from.family() != address.family() || address < selector.from || selector.to < address) continue;
    if (selector.protocol != 0 && selector.protocol != protocol) continue;
    const bool any_port = selector.port_from == 0 && selector.port_to == 65535;
    if (!any_port && (!ports || port < selector.port_from || port > selector.port_to)) continue;
    return true;
  }
  return false;
}

}  // namespace

Result<std::shared_ptr<Sa>> Sa::create(SaSpec spec) {
  const std::string name = "SA " + std::to_string(spec.spi.value());
  // RFC 4303 section 2.1: 0 is local use, 1 to 255 are reserved.
  if (spec.spi.value() < 256) return fail(ErrorCode::kInvalidConfig, name + ": SPIs below 256 are reserved");
  if (spec.path.source.family() != spec.path.destination.family()) {
    return fail(ErrorCode::kInvalidConfig, name + ": " + spec.path.source.to_string() + " and " +
                                               spec.path.destination.to_string() + " are of different families");
  }
  if (auto good = check(spec.source_selectors, "source"); !good) return tl::make_unexpected(good.error());
  if (auto good = check(spec.destination_selectors, "destination"); !good) return tl::make_unexpected(good.error());
  auto key = crypto::EspKey::create(spec.suite, spec.key.bytes(), spec.integrity_key.bytes(), spec.esn);
  if (!key) return fail(key.error().code, name + ": " + key.error().what, key.error().hint);
  return std::shared_ptr<Sa>(new Sa(std::move(spec), *std::move(key)));
}

Sa::Sa(SaSpec spec, crypto::EspKey key)
    : key_(std::move(key)),
      spi_(spec.spi),
      tunnel_(spec.tunnel),
      direction_(spec.direction),
      copy_dscp_(spec.copy_dscp),
      any_v4_(selects_everything(spec.source_selectors, IpFamily::kV4) &&
              selects_everything(spec.destination_selectors, IpFamily::kV4)),
      any_v6_(selects_everything(spec.source_selectors, IpFamily::kV6) &&
              selects_everything(spec.destination_selectors, IpFamily::kV6)),
      runtime_(spec.replay_window),
      source_selectors_(std::move(spec.source_selectors)),
      destination_selectors_(std::move(spec.destination_selectors)),
      path_(spec.path) {}

Sa::~Sa() { delete compiled_.load(std::memory_order_relaxed); }

SaUsage Sa::usage() const noexcept {
  return {runtime_.packets.read(),
          runtime_.bytes.read(),
          runtime_.sequence.load(std::memory_order_relaxed),
          runtime_.replayed.read(),
          runtime_.failed.read(),
          runtime_.last_use.load(std::memory_order_relaxed)};
}

SaProgress Sa::progress() const {
  return {usage(), runtime_.window.top(), runtime_.window.words()};
}

bool Sa::resume(const SaProgress& progress) {
  if (!runtime_.window.restore(progress.window_top, progress.window)) return false;
  runtime_.packets.add(progress.usage.packets);
  runtime_.bytes.add(progress.usage.bytes);
  runtime_.replayed.add(progress.usage.replayed);
  runtime_.failed.add(progress.usage.failed);
  runtime_.sequence.store(progress.usage.sequence, std::memory_order_relaxed);
  runtime_.last_use.store(progress.usage.last_use, std::memory_order_relaxed);
  return true;
}

Result<std::shared_ptr<Sa>> Sa::stand_in() const {
  const crypto::EspSuiteFacts& facts = crypto::facts_of(suite());
  const std::array<std::uint8_t, crypto::SecretKey::kMaxBytes> zeros{};
  SaSpec spec;
  spec.direction = direction_;
  spec.spi = spi_;
  spec.tunnel = tunnel_;
  spec.path = path_;
  spec.suite = suite();
  spec.key = crypto::SecretKey(std::span(zeros).first(std::size_t{facts.cipher_key_bytes} + facts.salt_bytes));
  spec.integrity_key = crypto::SecretKey(std::span(zeros).first(facts.integrity_key_bytes));
  spec.esn = esn();
  spec.replay_window = runtime_.window.size();
  spec.source_selectors = source_selectors_;
  spec.destination_selectors = destination_selectors_;
  spec.copy_dscp = copy_dscp_;
  auto made = create(std::move(spec));
  if (!made) return made;
  Sa& copy = **made;
  copy.tunnel_slot_ = tunnel_slot_;
  if (const CompiledSaPath* path = compiled()) copy.compiled_.store(new CompiledSaPath(*path), std::memory_order_relaxed);
  const std::uint64_t sequence = runtime_.sequence.load(std::memory_order_relaxed);
  copy.runtime_.sequence.store(sequence, std::memory_order_relaxed);
  // Of an inbound SA: the top of its window, whose bits are the worker's.
  if (direction_ == SaDirection::kInbound && sequence != 0) copy.runtime_.window.commit(sequence);
  return made;
}

std::optional<SaMapping> Sa::take_mapping() noexcept {
  if (runtime_.mailbox.load(std::memory_order_acquire) != Mailbox::kFull) return std::nullopt;
  const SaMapping mapping = runtime_.mapping;
  runtime_.mailbox.store(Mailbox::kEmpty, std::memory_order_release);
  // Filled before the path was changed to it.
  if (mapping.source == path_.source && mapping.port == path_.source_port) return std::nullopt;
  return mapping;
}

bool Sa::selects(const IpAddress& source, const IpAddress& destination, std::uint8_t protocol, bool ports,
                 std::uint16_t source_port, std::uint16_t destination_port) const noexcept {
  return matches(source_selectors_, source, protocol, ports, source_port) &&
         matches(destination_selectors_, destination, protocol, ports, destination_port);
}

}  // namespace simplon::forward
