// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <nlohmann/json.hpp>

// Replies as gateway/ipc/api.h documents them, shared by the tests of the server, the client and the pages.

namespace simplon::cli::replies {

using nlohmann::json;

inline json status() {
  return json::parse(R"({
    "gateway": "gw", "software": "0.1.0", "uptime_seconds": 11040, "verdict": "degraded",
    "config": {"version": 12, "pending": {"version": 12, "reverts_to": 11, "deadline": "2026-01-31T12:00:00Z", "seconds_left": 42}},
    "programs": [{"name": "simplon-forwarder", "up": true, "detail": "generation 412"}, {"name": "charon", "up": true, "detail": ""},
                 {"name": "frr/prod", "up": false, "detail": "does not start"}],
    "programmed": {"generation_wanted": 413, "generation_confirmed": 412, "routes": 14, "endpoints": 4},
    "accounting": {"received": 1000, "originated": 2, "sent": 900, "punted": 80, "dropped": 22},
    "uplinks": [{"interface": "wan0", "up": true, "mode": "native, copy", "queues": 1, "error": "",
                 "rx_packets": 1000, "rx_bytes": 1536000, "tx_packets": 900, "tx_bytes": 99,
                 "xdp_forwarding": "on", "xdp_packets": 700, "control_rings": 1, "rx_ring_full": 0,
                 "control_ring_full": 0, "fill_ring_empty": 0}],
    "workers": [{"name": "worker0", "cpu": 2, "busy_percent": 37, "received": 1000, "dropped": 22,
                 "queues": [{"interface": "wan0", "queue": 0}, {"interface": "wan0", "queue": 2}]},
                {"name": "worker1", "cpu": null, "busy_percent": 0, "received": 0, "dropped": 0, "queues": []}],
    "counts": {"tunnels": 2, "tunnels_up": 1, "bgp_neighbors": 2, "bgp_established": 1, "vpcs": 2, "endpoints": 4, "domains": 2},
    "problems": [{"object": "tunnel berlin", "what": "the peer answered AUTHENTICATION_FAILED", "hint": "compare the pre-shared keys on both sides"}]
  })");
}

inline json tunnels() {
  return json::parse(R"({"generation": 412, "tunnels": [
    {"name": "paris", "id": 1,
     "config": {"name": "paris", "domain": "prod", "local": "203.0.113.1", "remote": "198.51.100.7", "local-id": "gw", "remote-id": "paris",
                "psk-file": "/etc/simplon/paris.psk", "ike-proposals": ["aes256gcm16-prfsha384-ecp384", "aes128gcm16-prfsha256-ecp256"],
                "esp-proposals": ["aes256gcm16-ecp384-esn-noesn"], "encapsulation": "auto", "initiate": true, "enabled": true, "dpd-delay": 10,
                "ike-rekey": 14400, "child-rekey": 3600, "replay-window": 1024, "inside": ["169.254.10.1/30"], "mtu": null, "clamp-mss": true,
                "outer-df": "set", "inner-df": "honor"},
     "observed": {"state": "up", "ike_state": "ESTABLISHED", "ike_suite": "AES_GCM_16_256/PRF_HMAC_SHA2_384/ECP_384", "local": "203.0.113.1",
                  "remote": "198.51.100.7", "ike_age_seconds": 11040, "established_in_ms": 87,
                  "children": [{"state": "INSTALLED", "spi_in": "c1a0f3e2", "spi_out": "09be77d1", "suite": "AES_GCM_16_256", "encap": false,
                                "bytes_in": 1048576, "bytes_out": 2048, "age_seconds": 600, "rekey_in_seconds": 2460}],
                  "problem": "", "hint": ""},
     "programmed": {"generation": 412, "current": true, "mtu": 1422, "host_port_up": true, "rx_packets": 12345, "rx_bytes": 1048576,
                    "tx_packets": 999, "tx_bytes": 2048, "punted": 12, "dropped": 3,
                    "sas": [{"spi": "c1a0f3e2", "inbound": true, "active": true, "encap": false, "esn": true, "suite": "aes256gcm16",
                             "packets": 12345, "bytes": 1048576, "sequence": 12345, "replayed": 1, "failed": 0, "age_seconds": 600},
                            {"spi": "09be77d1", "inbound": false, "active": true, "encap": false, "esn": true, "suite": "aes256gcm16",
                             "packets": 999, "bytes": 2048, "sequence": 999, "replayed": 0, "failed": 0, "age_seconds": 600}]}},
    {"name": "berlin", "id": 2,
     "config": {"name": "berlin", "domain": "test", "local": "203.0.113.1", "remote": null, "local-id": "gw", "remote-id": "berlin",
                "psk-file": "/etc/simplon/berlin.psk", "ike-proposals": ["aes256-sha256-modp2048"], "esp-proposals": ["aes128gcm16"],
                "encapsulation": "udp", "initiate": false, "enabled": true, "dpd-delay": 10, "ike-rekey": 14400, "child-rekey": 3600,
                "replay-window": 1024, "inside": [], "mtu": 1400, "clamp-mss": true,
                "outer-df": "set", "inner-df": "honor"},
     "observed": {"state": "down", "children": [], "problem": "the peer answered AUTHENTICATION_FAILED", "hint": "compare the pre-shared keys on both sides"},
     "programmed": null}]})");
}

inline json vpcs() {
  return json::parse(R"({"generation": 412, "vpcs": [
    {"name": "red", "vni": 100,
     "config": {"name": "red", "domain": "prod", "vni": 100, "prefixes": ["10.20.0.0/24"], "gateway": ["10.20.0.1/24"],
                "gateway-mac": "02:53:4c:00:00:64", "mtu": 1450,
                "endpoints": [{"address": "10.20.0.11", "mac": "02:00:00:00:64:0b", "vtep": "10.255.0.11"},
                              {"address": "10.20.0.12", "mac": "02:00:00:00:64:0c", "vtep": "10.255.0.12"}]},
     "observed": {"vteps": [{"address": "10.255.0.11", "interface": "fab0", "mac": "02:aa:00:00:00:11", "resolved": true, "mtu": 1500},
                            {"address": "10.255.0.12", "resolved": false}],
                  "problem": "1 of its VTEPs have no resolved neighbor", "hint": "is the compute host up?"},
     "programmed": {"generation": 412, "current": true, "mtu": 1450, "host_port_up": true, "rx_packets": 7, "rx_bytes": 700, "tx_packets": 8,
                    "tx_bytes": 800, "punted": 1, "dropped": 0}}]})");
}

inline json circuits() {
  return json::parse(R"({"generation": 412, "circuits": [
    {"name": "dallas", "id": 1, "interface": "cir1",
     "config": {"name": "dallas", "domain": "prod", "uplink": "wan0", "vlan": 7, "outer-vlan": 300, "outer-type": "802.1ad",
                "addresses": ["192.168.15.1/30", "fd00:15::1/126"], "mtu": 1500, "clamp-mss": true, "enabled": true,
                "service-key": "9b1deb4d-3b7d-4bad-9bdd-2b0d7b3dcb6d", "path": "primary"},
     "observed": {"state": "up", "neighbors": [{"address": "192.168.15.2", "mac": "02:aa:00:00:00:12", "resolved": true}], "problem": "", "hint": ""},
     "programmed": {"generation": 412, "current": true, "mtu": 1496, "host_port_up": true, "rx_packets": 7, "rx_bytes": 700, "tx_packets": 8,
                    "tx_bytes": 800, "punted": 1, "dropped": 0}},
    {"name": "dallas-2", "id": 2, "interface": "cir2",
     "config": {"name": "dallas-2", "domain": "prod", "uplink": "fab0", "vlan": 100, "outer-vlan": null, "outer-type": "802.1ad",
                "addresses": ["192.168.15.5/30"], "mtu": 1500, "clamp-mss": true, "enabled": true, "service-key": null, "path": "primary"},
     "observed": {"state": "no-neighbor", "neighbors": [{"address": "192.168.15.6", "mac": "00:00:00:00:00:00", "resolved": false}],
                  "problem": "192.168.15.6 does not answer ARP", "hint": "has the other end the same VLAN?"},
     "programmed": null}]})");
}

inline json routes() {
  return json::parse(
      R"({"generation": 412, "current": true, "total": 2, "more": false, "domains": [{"name": "prod", "id": 1, "synchronized": true, "total": 2, "routes": [
    {"prefix": "10.1.0.0/24", "origin": "bgp", "action": "forward", "distance": 20, "nexthops": [
      {"kind": "tunnel", "name": "paris", "gateway": "169.254.10.2", "weight": 1}, {"kind": "tunnel", "name": "berlin", "gateway": null, "weight": 3}],
     "selected": true, "programmed": true, "reason": ""},
    {"prefix": "169.254.10.1/32", "origin": "local", "action": "local", "distance": 0, "nexthops": [{"kind": "tunnel", "name": "paris", "weight": 1}]}]}]})");
}

inline json bgp() {
  return json::parse(R"({"domains": [{"name": "prod", "config": {"asn": 65515, "router-id": "10.0.0.1"},
    "observed": {"running": true, "fpm_connected": true, "problem": "", "hint": ""},
    "neighbors": [
      {"name": "paris-router", "config": {"name": "paris-router", "address": "169.254.10.2", "asn": 65001, "bfd": true},
       "observed": {"state": "Established", "uptime_seconds": 3700, "prefixes_received": 3, "prefixes_accepted": 2, "prefixes_sent": 1, "bfd_state": "up", "problem": "", "hint": ""}},
      {"name": "berlin-router", "config": {"name": "berlin-router", "address": "169.254.20.2", "asn": 65002, "bfd": false},
       "observed": {"state": "Active", "prefixes_received": 0, "prefixes_accepted": 0, "prefixes_sent": 0, "bfd_state": "", "problem": "the TCP connection is refused", "hint": "is BGP running there?"}}]}]})");
}

inline json acls() {
  return json::parse(
      R"({"acls": [{"name": "web", "default": "deny", "used_by": ["vpc red"], "programmed": true, "rules": [
          {"name": "https", "action": "allow", "direction": "to", "rule": "allow to tcp any -> any ports 443", "packets": 12345},
          {"name": "rest", "action": "deny", "direction": "to", "rule": "deny to any any -> any", "packets": null}]}]})");
}

inline json nat() {
  return json::parse(
      R"({"domains": [{"name": "prod", "programmed": true, "rules": [
          {"name": "egress", "type": "source", "rule": "source at paris: any as 100.64.0.1/32", "hits": 7}]}]})");
}

inline json connections() {
  return json::parse(
      R"({"used": 2, "most": 262144, "attachments": [{"name": "vpc red", "connections": 2, "limit": 65536}], "connections": [
          {"domain": "prod", "protocol": "tcp", "state": "open", "source": "10.20.0.11", "source_port": 40000,
           "destination": "172.16.0.9", "destination_port": 443, "translated_source": "100.64.0.1",
           "translated_source_port": 2048, "translated_destination": "172.16.0.9", "translated_destination_port": 443,
           "from": "vpc red", "to": "tunnel paris", "packets_out": 5, "packets_back": 4, "bytes_out": 500,
           "bytes_back": 400, "age_seconds": 10, "idle_seconds": 1, "expires_in_seconds": 7439}]})");
}

inline json drops() {
  return json::parse(
      R"({"accounting": {"received": 1000, "originated": 2, "sent": 900, "punted": 80, "dropped": 22, "icmp_suppressed": 7}, "drops": [
    {"name": "esp_replay", "reference": "RFC 4303 section 3.4.3", "sentence": "The sequence number was seen before or is left of the window.", "packets": 2},
    {"name": "endpoint_unknown", "reference": "", "sentence": "No endpoint of the VPC has this inner destination.", "packets": 20},
    {"name": "ttl_expired", "reference": "RFC 1812 section 5.3.1", "sentence": "The TTL reached zero; ICMP time exceeded was sent.", "packets": 0}]})");
}

inline json history() {
  return json::parse(R"({"current": 12, "versions": [
    {"version": 12, "when": "2026-01-31T12:00:00Z", "who": "root", "comment": "tunnel add berlin", "hash": "ab", "parent": 11},
    {"version": 11, "when": "2026-01-30T12:00:00Z", "who": "ops", "comment": "", "hash": "cd", "parent": 10}], "pending": null})");
}

inline json changes() {
  return json::parse(R"({"changes": [
    {"kind": "changed", "object": "tunnel", "name": "paris", "field": "remote", "old": "198.51.100.7", "new": "198.51.100.8", "reconfigure": "restart-session"},
    {"kind": "added", "object": "endpoint", "name": "red/10.20.0.13", "field": "", "old": "", "new": "02:00:00:00:64:0d behind 10.255.0.12", "reconfigure": "in-place"}],
    "impact": [{"object": "tunnel", "name": "paris", "kind": "changed", "reconfigure": "restart-session", "words": "IKE is negotiated again because remote changes: traffic stops meanwhile"}],
    "summary": "restarts 1 tunnel"})");
}

inline json trace() {
  return json::parse(R"({"from": {"kind": "vpc", "name": "red"}, "packet": "10.20.0.5 -> 9.9.9.9 TCP 49152 -> 443, 40 bytes, TTL 64",
    "live": false, "generation": 412, "verdict": "dropped",
    "drop": {"name": "no_route", "reference": "RFC 1812 section 5.2.7.1", "sentence": "The domain has no route to the destination.",
             "remedy": "add a route to 9.9.9.9, or let the peer announce one: simplon route show --domain prod, simplon bgp show"},
    "steps": [
      {"stage": "vxlan_decap", "packet": "packet", "drop": "", "facts": [{"name": "vpc", "value": "vpc:red"},
        {"name": "packet", "value": "10.20.0.5 -> 9.9.9.9 TCP 49152 -> 443, 40 bytes, TTL 64"}]},
      {"stage": "ip_forward", "packet": "packet", "drop": "no_route", "facts": [{"name": "domain", "value": "prod"},
        {"name": "route", "value": "none to 9.9.9.9"}]},
      {"stage": "icmp_errors", "packet": "icmp-error", "drop": "", "facts": [{"name": "message", "value": "type 3, code 0"}]}]})");
}

}  // namespace simplon::cli::replies
