// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/config/ids.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <set>
#include <sstream>
#include <system_error>

#include "gateway/config/validate.h"
#include "platform/sys/file.h"

namespace simplon::config {
namespace {

constexpr std::size_t kMaxFileBytes = 8U << 20;
/// Interface names ("tun" and the id) have room for more, but ids also are if_ids, of which this many are plenty.
constexpr std::uint32_t kMaxId = 999'999'999;

template <class T, class Map>
std::optional<T> find_id(const Map& by_name, std::string_view name) {
  const auto found = by_name.find(name);
  if (found == by_name.end()) return std::nullopt;
  return T(found->second);
}

template <class Map>
std::optional<std::string> find_name(const Map& by_name, std::uint32_t id) {
  const auto found =
      std::find_if(by_name.begin(), by_name.end(), [&](const auto& entry) { return entry.second == id; });
  if (found == by_name.end()) return std::nullopt;
  return found->first;
}

}  // namespace

Result<IdRegistry> IdRegistry::open(const std::filesystem::path& state_directory) {
  if (auto ok = sys::make_directories(state_directory.string(), 0700); !ok) return Unexpected(ok.error());
  IdRegistry registry(state_directory / "ids");
  std::error_code error;
  if (!std::filesystem::exists(registry.file_, error) && !error) return registry;
  const auto text = sys::read_file(registry.file_.string(), kMaxFileBytes);
  if (!text) return Unexpected(text.error());

  const auto damaged = [&](int line) {
    return fail(ErrorCode::kInvalidConfig, registry.file_.string() + " is damaged in line " + std::to_string(line),
                "restore it from a backup; without it live tunnels cannot be told apart");
  };
  std::istringstream lines(*text);
  int number = 0;
  std::set<std::uint32_t> used_domains;
  std::set<std::uint32_t> used_tunnels;
  for (std::string line; std::getline(lines, line);) {
    ++number;
    std::istringstream words(line);
    std::string kind, name, digits, rest;
    words >> kind >> name >> digits;
    std::uint32_t id = 0;
    const auto [end, bad] = std::from_chars(digits.data(), digits.data() + digits.size(), id);
    if (bad != std::errc{} || end != digits.data() + digits.size() || id == 0 || words >> rest) return damaged(number);
    const bool is_domain = kind == "domain";
    if (!is_domain && kind != "tunnel") return damaged(number);
    Table& table = is_domain ? registry.domains_ : registry.tunnels_;
    if (name == "*") {  // the next number to give
      table.next = id;
    } else if (!is_valid_name(name) || !(is_domain ? used_domains : used_tunnels).insert(id).second ||
               !table.by_name.emplace(name, id).second) {
      return damaged(number);
    }
  }
  for (const Table* table : {&registry.domains_, &registry.tunnels_}) {
    for (const auto& [name, id] : table->by_name) {
      if (id >= table->next) return damaged(number);
    }
  }
  return registry;
}

Result<void> IdRegistry::store(const Table& domains, const Table& tunnels) {
  std::ostringstream text;
  const auto print = [&](const char* kind, const Table& table) {
    text << kind << " * " << table.next << "\n";
    for (const auto& [name, id] : table.by_name) text << kind << " " << name << " " << id << "\n";
  };
  print("domain", domains);
  print("tunnel", tunnels);
  if (auto ok = sys::write_file_atomically(file_.string(), text.str(), 0600); !ok) return ok;
  domains_ = domains;
  tunnels_ = tunnels;
  return {};
}

Result<void> IdRegistry::assign(const GatewayConfig& config) {
  Table domains = domains_;
  Table tunnels = tunnels_;
  const auto name = [](Table& table, const std::string& wanted) {
    if (table.by_name.contains(wanted)) return true;
    if (table.next > kMaxId) return false;
    table.by_name.emplace(wanted, table.next++);
    return true;
  };
  const bool fits = std::all_of(config.domains.begin(), config.domains.end(),
                                [&](const auto& domain) { return name(domains, domain.name); }) &&
                    std::all_of(config.tunnels.begin(), config.tunnels.end(),
                                [&](const auto& tunnel) { return name(tunnels, tunnel.name); });
  if (!fits) return fail(ErrorCode::kExhausted, "no ids are left in " + file_.string());
  if (domains == domains_ && tunnels == tunnels_) return {};
  return store(domains, tunnels);
}

IdRegistry::Snapshot IdRegistry::snapshot() const {
  Snapshot made;
  made.domains = domains_.by_name;
  made.tunnels = tunnels_.by_name;
  made.next_domain = domains_.next;
  made.next_tunnel = tunnels_.next;
  return made;
}

Result<void> IdRegistry::adopt(const Snapshot& other, const GatewayConfig& config) {
  const auto take = [](Table& table, const auto& objects, const auto& theirs, std::uint32_t next) {
    const auto never_given = table.next;
    for (const auto& object : objects) {
      const auto found = theirs.find(object.name);
      if (found == theirs.end() || table.by_name.contains(object.name)) continue;
      const auto number = found->second;
      if (number < never_given || number > kMaxId) continue;
      const bool taken = find_name(table.by_name, number).has_value();
      if (!taken) table.by_name.emplace(object.name, number);
      table.next = std::max(table.next, number + 1);
    }
    table.next = std::max(table.next, std::min(next, kMaxId + 1));
  };
  Table domains = domains_;
  Table tunnels = tunnels_;
  take(domains, config.domains, other.domains, other.next_domain);
  take(tunnels, config.tunnels, other.tunnels, other.next_tunnel);
  if (domains != domains_ || tunnels != tunnels_) {
    if (auto ok = store(domains, tunnels); !ok) return ok;
  }
  return assign(config);
}

Result<void> IdRegistry::retain(const GatewayConfig& config) {
  std::set<std::string, std::less<>> domain_names;
  std::set<std::string, std::less<>> tunnel_names;
  for (const auto& domain : config.domains) domain_names.insert(domain.name);
  for (const auto& tunnel : config.tunnels) tunnel_names.insert(tunnel.name);
  Table domains = domains_;
  Table tunnels = tunnels_;
  std::erase_if(domains.by_name, [&](const auto& entry) { return !domain_names.contains(entry.first); });
  std::erase_if(tunnels.by_name, [&](const auto& entry) { return !tunnel_names.contains(entry.first); });
  if (domains == domains_ && tunnels == tunnels_) return {};
  return store(domains, tunnels);
}

std::optional<DomainId> IdRegistry::domain(std::string_view name) const {
  return find_id<DomainId>(domains_.by_name, name);
}
std::optional<TunnelId> IdRegistry::tunnel(std::string_view name) const {
  return find_id<TunnelId>(tunnels_.by_name, name);
}
std::optional<std::string> IdRegistry::domain_name(DomainId id) const {
  return find_name(domains_.by_name, id.value());
}
std::optional<std::string> IdRegistry::tunnel_name(TunnelId id) const {
  return find_name(tunnels_.by_name, id.value());
}

}  // namespace simplon::config
