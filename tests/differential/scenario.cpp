// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/differential/scenario.h"

#include <array>
#include <cstdio>

namespace simplon::differential {
namespace {

using oracle::View;

template <class... Fs>
struct Overloaded : Fs... {
  using Fs::operator()...;
};
template <class... Fs>
Overloaded(Fs...) -> Overloaded<Fs...>;

template <class... Values>
std::string text(const char* format, Values... values) {
  char buffer[400];
  const int length = std::snprintf(buffer, sizeof buffer, format, values...);
  return {buffer, static_cast<std::size_t>(length)};
}

std::string join(const auto& items, auto&& name) {
  std::string all;
  for (const auto& item : items) all += (all.empty() ? "" : " ") + name(item);
  return all.empty() ? "none" : all;
}

std::string path_text(const forward::SaPath& path) {
  std::string line = path.source.to_string() + " -> " + path.destination.to_string();
  if (path.encap) line += text(" in UDP %u -> %u", path.source_port, path.destination_port);
  return line;
}

std::string sa_text(const oracle::SaSpec& sa, std::uint64_t used) {
  const auto ranges = [](const std::vector<forward::Selector>& selectors) {
    return join(selectors, [](const forward::Selector& selector) {
      return selector.from.to_string() + "-" + selector.to.to_string() +
             text("[%u/%u-%u]", selector.protocol, selector.port_from, selector.port_to);
    });
  };
  std::string line = text("SPI 0x%08x tunnel %u ", sa.spi.value(), sa.tunnel.value()) + path_text(sa.path) +
                     text(" %s%s window %u used %llu", std::string(crypto::to_string(sa.suite)).c_str(),
                          sa.esn ? " ESN" : "", sa.replay_window, static_cast<unsigned long long>(used));
  if (!sa.copy_dscp) line += " no DSCP";
  if (!sa.source_selectors.empty()) line += " from " + ranges(sa.source_selectors);
  if (!sa.destination_selectors.empty()) line += " to " + ranges(sa.destination_selectors);
  return line;
}

std::string prefixes_text(const std::vector<IpPrefix>& prefixes) {
  return join(prefixes, [](const IpPrefix& prefix) { return prefix.to_string(); });
}

std::string acl_text(const oracle::AclEntry& acl) {
  const auto ranges = [](const std::vector<forward::NumberRange>& all) {
    return join(all, [](const forward::NumberRange& range) { return text("%u-%u", range.first, range.last); });
  };
  std::string all = "list " + acl.name + (acl.allow_by_default ? " allows by default" : "");
  for (const forward::AclRuleEntry& rule : acl.rules) {
    all += "\n    " + rule.name + (rule.allow ? " allow" : " deny") +
           (rule.direction == forward::AclDirection::kFrom ? " from" : " to") + (rule.stateful ? " stateful" : "") +
           (rule.protocol ? text(" protocol %u", *rule.protocol) : "") + " sources " + prefixes_text(rule.sources) +
           " destinations " + prefixes_text(rule.destinations) + " ports " + ranges(rule.source_ports) + " -> " +
           ranges(rule.destination_ports);
  }
  return all;
}

std::string nat_text(const oracle::NatEntry& nat) {
  static constexpr const char* kKinds[] = {"?", "source", "destination", "netmap", "netmap-remote"};
  std::string all = text("NAT of domain %u", nat.domain.value());
  for (const forward::NatRuleEntry& rule : nat.rules) {
    all += "\n    " + rule.name + " " + kKinds[static_cast<std::size_t>(rule.kind)] + " " +
           rule.attachment.to_string() + " sources " + prefixes_text(rule.sources) + " outside " +
           rule.outside.to_string() + " inside " + rule.inside.to_string() +
           text(" protocol %u port %u -> %u blocks %u", rule.protocol.value_or(0), rule.outside_port, rule.inside_port,
                rule.port_blocks);
  }
  return all;
}

std::string hex(View bytes) {
  std::string digits;
  for (const std::uint8_t byte : bytes) digits += text("%02x", byte);
  return digits;
}

std::string describe_ip(View ip, int depth);

std::string describe_ethernet(View frame, int depth) {
  if (frame.size() < 14) return "short Ethernet";
  const std::uint16_t type = oracle::get16(frame, 12);
  const std::string head =
      "to " + hex(frame.first(6)) + " from " + hex(frame.subspan(6, 6)) + text(" type %04x | ", type);
  if (depth == 0 && (type == 0x8100 || type == 0x88a8) && frame.size() >= 18) {
    const std::uint16_t next = oracle::get16(frame, 16);
    const bool two = (next == 0x8100 || next == 0x88a8) && frame.size() >= 22;
    std::string tags = text("VLAN %u ", oracle::get16(frame, 14) & 0xfffU);
    if (two) tags += text("then %u ", oracle::get16(frame, 18) & 0xfffU);
    const std::uint16_t inside = oracle::get16(frame, two ? 20 : 16);
    tags += text("type %04x | ", inside);
    return head + tags + (inside == 0x0800 || inside == 0x86dd ? describe_ip(frame.subspan(two ? 22 : 18), 1) : "...");
  }
  return type == 0x0800 || type == 0x86dd ? head + describe_ip(frame.subspan(14), depth) : head + "...";
}

std::string describe_payload(std::uint8_t protocol, View bytes, int depth) {
  if (protocol == 50 && bytes.size() >= 8)
    return text("ESP 0x%08x number %u", oracle::get32(bytes, 0), oracle::get32(bytes, 4));
  if ((protocol == 1 || protocol == 58) && bytes.size() >= 8) {
    return text("ICMP type %u code %u word %u", bytes[0], bytes[1], oracle::get32(bytes, 4));
  }
  if (protocol == 6 && bytes.size() >= 20) {
    return text("TCP %u -> %u flags %02x", oracle::get16(bytes, 0), oracle::get16(bytes, 2), bytes[13]);
  }
  if (protocol != 17 || bytes.size() < 8) return text("protocol %u", protocol);
  const std::uint16_t to = oracle::get16(bytes, 2);
  const std::string head = text("UDP %u -> %u length %u", oracle::get16(bytes, 0), to, oracle::get16(bytes, 4));
  if (depth == 0 && to == 4500) return head + " | " + describe_payload(50, bytes.subspan(8), depth);
  if (depth == 0 && bytes.size() >= 16) {
    return head + text(" | VXLAN flags %08x VNI %u | ", oracle::get32(bytes, 8), oracle::get32(bytes, 12) >> 8) +
           describe_ethernet(bytes.subspan(16), depth + 1);
  }
  return head;
}

std::string describe_ip(View ip, int depth) {
  if (ip.size() >= 20 && ip[0] >> 4 == 4) {
    const std::size_t header = (ip[0] & 15U) * std::size_t{4};
    const std::uint16_t fragment = oracle::get16(ip, 6);
    std::string line = oracle::address4(ip, 12).to_string() + " -> " + oracle::address4(ip, 16).to_string() +
                       text(" TTL %u TOS %02x length %u", ip[8], ip[1], oracle::get16(ip, 2));
    if (header != 20) line += text(" header %zu", header);
    if ((fragment & 0x4000) != 0) line += " DF";
    if ((fragment & 0x2000) != 0) line += " MF";
    if ((fragment & 0x1fff) != 0) line += text(" offset %u", (fragment & 0x1fffU) * 8U);
    if (header < 20 || header > ip.size()) return line;
    return line + " | " + describe_payload((fragment & 0x1fff) != 0 ? 255 : ip[9], ip.subspan(header), depth);
  }
  if (ip.size() >= 40 && ip[0] >> 4 == 6) {
    return oracle::address6(ip, 8).to_string() + " -> " + oracle::address6(ip, 24).to_string() +
           text(" hops %u class %02x payload %u | ", ip[7], (oracle::get16(ip, 0) >> 4) & 0xff, oracle::get16(ip, 4)) +
           describe_payload(ip[6], ip.subspan(40), depth);
  }
  return "no IP";
}

}  // namespace

std::string describe(const oracle::Change& change) {
  using namespace oracle;
  return std::visit(
      Overloaded{
          [](const PutDomain& put) { return text("domain %u", put.domain.value()); },
          [](const RemoveDomain& remove) { return text("remove domain %u", remove.domain.value()); },
          [](const VpcEntry& vpc) {
            return text("vpc %u domain %u VTEP %s port %u MAC %s mtu %u prefixes ", vpc.vni.value(), vpc.domain.value(),
                        vpc.vtep.to_string().c_str(), vpc.udp_port, vpc.gateway_mac.to_string().c_str(), vpc.mtu) +
                   join(vpc.prefixes, [](const IpPrefix& prefix) { return prefix.to_string(); }) + " accepts " +
                   join(vpc.accepted_vteps, [](const IpAddress& vtep) { return vtep.to_string(); });
          },
          [](const RemoveVpc& remove) { return text("remove vpc %u", remove.vni.value()); },
          [](const EndpointEntry& endpoint) {
            return text("endpoint %s vpc %u MAC %s behind %s", endpoint.address.to_string().c_str(),
                        endpoint.vni.value(), endpoint.mac.to_string().c_str(), endpoint.vtep.to_string().c_str());
          },
          [](const RemoveEndpoint& remove) {
            return text("remove endpoint %s vpc %u", remove.address.to_string().c_str(), remove.vni.value());
          },
          [](const TunnelEntry& tunnel) {
            constexpr std::array<const char*, 3> kOuterDf = {"", " clears-outer-df", " copies-df"};
            return text("tunnel %u domain %u mtu %u%s%s%s", tunnel.id.value(), tunnel.domain.value(), tunnel.mtu,
                        tunnel.clamp_mss ? " clamps" : "", kOuterDf[static_cast<std::size_t>(tunnel.outer_df)],
                        tunnel.ignores_df ? " ignores-df" : "");
          },
          [](const RemoveTunnel& remove) { return text("remove tunnel %u", remove.id.value()); },
          [](const HostPortEntry& entry) {
            return "host port of " + entry.attachment.to_string() + text(" is port %u addresses ", entry.port.value()) +
                   join(entry.addresses, [](const IpAddress& address) { return address.to_string(); });
          },
          [](const RemoveHostPort& remove) { return "remove host port of " + remove.attachment.to_string(); },
          [](const RouteEntry& route) {
            const char* action = route.action == forward::RouteAction::kForward ? "via"
                                 : route.action == forward::RouteAction::kLocal ? "local"
                                                                                : "unreachable";
            return text("route %s domain %u %s ", route.prefix.to_string().c_str(), route.domain.value(), action) +
                   join(route.nexthops, [](const forward::NextHopEntry& hop) {
                     return hop.attachment.to_string() + (hop.gateway ? " at " + hop.gateway->to_string() : "") +
                            text(" weight %u", hop.weight);
                   });
          },
          [](const RemoveRoute& remove) {
            return text("remove route %s domain %u", remove.prefix.to_string().c_str(), remove.domain.value());
          },
          [](const Port& port) {
            return text("port %u %s MAC %s%s", port.id.value(),
                        port.kind == forward::PortKind::kUplink ? "uplink" : "host", port.mac.to_string().c_str(),
                        port.fixup ? " partial checksums" : "");
          },
          [](const RemovePort& remove) { return text("remove port %u", remove.id.value()); },
          [](const SetAdjacency& set) {
            return text("adjacency %s port %u MAC %s from %s mtu %u%s", set.destination.to_string().c_str(),
                        set.entry.port.value(), set.entry.destination.to_string().c_str(),
                        set.entry.source.to_string().c_str(), set.entry.path_mtu,
                        set.entry.resolved ? "" : " unresolved");
          },
          [](const InstallInbound& install) { return "inbound SA " + sa_text(install.spec, install.used); },
          [](const RemoveInbound& remove) { return text("remove inbound SA 0x%08x", remove.spi.value()); },
          [](const SetOutbound& set) { return "outbound SA " + sa_text(set.spec, set.used); },
          [](const ClearOutbound& clear) { return text("no outbound SA for tunnel %u", clear.tunnel.value()); },
          [](const MoveInbound& move) {
            return text("inbound SA 0x%08x moves to ", move.spi.value()) + path_text(move.path);
          },
          [](const MoveOutbound& move) {
            return text("outbound SA of tunnel %u moves to ", move.tunnel.value()) + path_text(move.path);
          },
          [](const CircuitEntry& circuit) {
            return text("circuit %u domain %u port %u VLAN %u in %u (%04x) MAC %s mtu %u%s", circuit.id.value(),
                        circuit.domain.value(), circuit.port.value(), circuit.vlan, circuit.outer_vlan,
                        circuit.outer_type, circuit.mac.to_string().c_str(), circuit.mtu,
                        circuit.clamp_mss ? " clamps" : "");
          },
          [](const RemoveCircuit& remove) { return text("remove circuit %u", remove.id.value()); },
          [](const NeighborEntry& neighbor) {
            return text("neighbor %s circuit %u MAC %s", neighbor.address.to_string().c_str(), neighbor.circuit.value(),
                        neighbor.mac.to_string().c_str());
          },
          [](const RemoveNeighbor& remove) {
            return text("remove neighbor %s circuit %u", remove.address.to_string().c_str(), remove.circuit.value());
          },
          [](const AclEntry& acl) { return acl_text(acl); },
          [](const RemoveAcl& remove) { return "remove list " + remove.name; },
          [](const PolicyEntry& policy) {
            return "policy of " + policy.attachment.to_string() +
                   text(
                       " domain %u list '%s' reverse path %u from %llu bit/s %llu packets/s to %llu bit/s %llu "
                       "packets/s"
                       " connections %u",
                       policy.domain.value(), policy.acl.c_str(), static_cast<unsigned>(policy.reverse_path),
                       static_cast<unsigned long long>(policy.from.bits_per_second),
                       static_cast<unsigned long long>(policy.from.packets_per_second),
                       static_cast<unsigned long long>(policy.to.bits_per_second),
                       static_cast<unsigned long long>(policy.to.packets_per_second), policy.max_connections);
          },
          [](const RemovePolicy& remove) { return "remove policy of " + remove.attachment.to_string(); },
          [](const NatEntry& nat) { return nat_text(nat); },
          [](const RemoveNat& remove) { return text("remove NAT of domain %u", remove.domain.value()); },
      },
      change);
}

std::string describe_frame(View frame, bool ethernet) {
  return (ethernet ? describe_ethernet(frame, 0) : describe_ip(frame, 1)) + "\n    " + hex(frame);
}

}  // namespace simplon::differential
