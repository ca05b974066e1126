// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/config/ids.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <map>
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
  std::map<const Table*, std::set<std::uint32_t>> used;
  for (std::string line; std::getline(lines, line);) {
    ++number;
    std::istringstream words(line);
    std::string kind, name, digits, rest;
    words >> kind >> name >> digits;
    std::uint32_t id = 0;
    const auto [end, bad] = std::from_chars(digits.data(), digits.data() + digits.size(), id);
    if (bad != std::errc{} || end != digits.data() + digits.size() || id == 0 || words >> rest) return damaged(number);
    Tables& tables = registry.tables_;
    Table* table = kind == "domain"    ? &tables.domains
                   : kind == "tunnel"  ? &tables.tunnels
                   : kind == "circuit" ? &tables.circuits
                                       : nullptr;
    if (table == nullptr) return damaged(number);
    if (name == "*") {  // the next number to give
      table->next = id;
    } else if (!is_valid_name(name) || !used[table].insert(id).second || !table->by_name.emplace(name, id).second) {
      return damaged(number);
    }
  }
  for (const Table* table : {&registry.tables_.domains, &registry.tables_.tunnels, &registry.tables_.circuits}) {
    for (const auto& [name, id] : table->by_name) {
      if (id >= table->next) return damaged(number);
    }
  }
  return registry;
}

Result<void> IdRegistry::store(const Tables& tables) {
  std::ostringstream text;
  const auto print = [&](const char* kind, const Table& table) {
    text << kind << " * " << table.next << "\n";
    for (const auto& [name, id] : table.by_name) text << kind << " " << name << " " << id << "\n";
  };
  print("domain", tables.domains);
  print("tunnel", tables.tunnels);
  // A release without circuits can read the file as long as there never was one.
  if (tables.circuits.next != 1) print("circuit", tables.circuits);
  if (auto ok = sys::write_file_atomically(file_.string(), text.str(), 0600); !ok) return ok;
  tables_ = tables;
  return {};
}

Result<void> IdRegistry::assign(const GatewayConfig& config) {
  Tables tables = tables_;
  const auto name_all = [](Table& table, const auto& objects) {
    return std::all_of(objects.begin(), objects.end(), [&](const auto& object) {
      if (table.by_name.contains(object.name)) return true;
      if (table.next > kMaxId) return false;
      table.by_name.emplace(object.name, table.next++);
      return true;
    });
  };
  const bool fits = name_all(tables.domains, config.domains) && name_all(tables.tunnels, config.tunnels) &&
                    name_all(tables.circuits, config.circuits);
  if (!fits) return fail(ErrorCode::kExhausted, "no ids are left in " + file_.string());
  if (tables == tables_) return {};
  return store(tables);
}

IdRegistry::Snapshot IdRegistry::snapshot() const {
  Snapshot made;
  made.domains = tables_.domains.by_name;
  made.tunnels = tables_.tunnels.by_name;
  made.circuits = tables_.circuits.by_name;
  made.next_domain = tables_.domains.next;
  made.next_tunnel = tables_.tunnels.next;
  made.next_circuit = tables_.circuits.next;
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
  Tables tables = tables_;
  take(tables.domains, config.domains, other.domains, other.next_domain);
  take(tables.tunnels, config.tunnels, other.tunnels, other.next_tunnel);
  take(tables.circuits, config.circuits, other.circuits, other.next_circuit);
  if (tables != tables_) {
    if (auto ok = store(tables); !ok) return ok;
  }
  return assign(config);
}

Result<void> IdRegistry::retain(const GatewayConfig& config) {
  Tables tables = tables_;
  const auto keep = [](Table& table, const auto& objects) {
    std::set<std::string, std::less<>> names;
    for (const auto& object : objects) names.insert(object.name);
    std::erase_if(table.by_name, [&](const auto& entry) { return !names.contains(entry.first); });
  };
  keep(tables.domains, config.domains);
  keep(tables.tunnels, config.tunnels);
  keep(tables.circuits, config.circuits);
  if (tables == tables_) return {};
  return store(tables);
}

std::optional<DomainId> IdRegistry::domain(std::string_view name) const {
  return find_id<DomainId>(tables_.domains.by_name, name);
}
std::optional<TunnelId> IdRegistry::tunnel(std::string_view name) const {
  return find_id<TunnelId>(tables_.tunnels.by_name, name);
}
std::optional<CircuitId> IdRegistry::circuit(std::string_view name) const {
  return find_id<CircuitId>(tables_.circuits.by_name, name);
}
std::optional<std::string> IdRegistry::domain_name(DomainId id) const {
  return find_name(tables_.domains.by_name, id.value());
}
std::optional<std::string> IdRegistry::tunnel_name(TunnelId id) const {
  return find_name(tables_.tunnels.by_name, id.value());
}

}  // namespace simplon::config
