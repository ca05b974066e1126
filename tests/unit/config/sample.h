// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>

namespace simplon::config {

/// Uses every key of the document once, and is valid; {dir} stands for the folder of the secrets.
inline const char* kFullDocument = R"(
gateway: {name: gw, vtep: 10.255.0.1, vxlan-port: 8472}
uplinks:
  - interface: wan0
  - interface: fab0
domains:
  - name: prod
    bgp:
      asn: 65515
      router-id: 10.0.0.1
      neighbors:
        - name: paris-router
          address: 169.254.10.2
          asn: 65001
          password-file: /secrets/bgp
          keepalive: 3s
          hold: 9
          bfd: true
          import: ["10.1.0.0/16 le 24", 10.2.0.0/16]
          export: [10.20.0.0/24]
          max-prefixes: 50
    static-routes:
      - {prefix: 0.0.0.0/0, via: paris}
      - {prefix: 0.0.0.0/0, via: berlin}
      - {prefix: 172.20.0.0/16, via: dallas, gateway: 192.168.15.2, distance: 30}
    nat:
      - {name: egress, type: source, attachment: berlin, source: [10.20.0.0/24], outside: 100.64.0.0/30, port-blocks: 4}
      - {name: web, type: destination, outside: 100.64.1.1, inside: 10.20.0.11, protocol: tcp, outside-port: 80, inside-port: 8080}
      - {name: ours, type: netmap, attachment: paris, inside: 10.20.0.0/24, outside: 100.70.0.0/24}
  - name: test
vpcs:
  - name: red
    domain: prod
    vni: 100
    prefixes: [10.20.0.0/24, "2001:db8:20::/64"]
    gateway: [10.20.0.1/24, "2001:db8:20::1/64"]
    gateway-mac: "02:00:00:00:00:fe"
    mtu: 1400
    endpoints:
      - {address: 10.20.0.11, mac: "02:00:00:00:64:0b", vtep: 10.255.0.11}
      - {address: "2001:db8:20::11", mac: "02:00:00:00:64:0b", vtep: 10.255.0.11}
    policy: {acl: web, reverse-path: strict, rate-from: 1000000, rate-to: 2000000, packets-from: 100, packets-to: 200, max-connections: 500}
  - name: blue
    domain: test
    vni: 200
    prefixes: [10.20.0.0/24]
    gateway: [10.20.0.1/24]
tunnels:
  - name: paris
    domain: prod
    local: 203.0.113.1
    remote: 198.51.100.7
    local-id: gw
    remote-id: "CN=paris, O=x"
    psk-file: /secrets/paris
    ike-proposals: [aes256-sha256-modp2048]
    esp-proposals: [aes128gcm16-ecp256]
    allow-weak: true
    encapsulation: udp
    initiate: false
    enabled: false
    dpd-delay: 5s
    ike-rekey: 2h
    child-rekey: 30m
    replay-window: 64
    inside: [169.254.10.1/30, "fd00:10::1/64"]
    mtu: 1380
    clamp-mss: false
    outer-df: copy
    inner-df: ignore
    policy: {reverse-path: loose}
  - name: berlin
    domain: prod
    local: 203.0.113.1
    remote-id: berlin.example
    initiate: false
    psk-file: /secrets/berlin
circuits:
  - name: dallas
    domain: prod
    uplink: wan0
    vlan: 7
    outer-vlan: 300
    outer-type: 802.1q
    addresses: [192.168.15.1/30, "fd00:15::1/126"]
    mtu: 1492
    clamp-mss: false
    enabled: false
    service-key: 9b1deb4d-3b7d-4bad-9bdd-2b0d7b3dcb6d
    path: secondary
    policy: {acl: web}
acls:
  - name: web
    default: allow
    rules:
      - {name: https, action: allow, direction: to, protocol: tcp, source: [172.16.0.0/12], destination: [10.20.0.11], source-ports: [1024-65535], ports: [443, 8000-8100]}
      - {name: ping, action: deny, direction: from, protocol: icmp, icmp-types: [8], stateful: false}
)";

/// The smallest document that is good for something: one VPC, one tunnel, BGP.
inline const char* kSmallDocument = R"(
gateway: {name: gw, vtep: 10.255.0.1}
uplinks: [{interface: wan0}]
domains:
  - name: prod
    bgp:
      asn: 65515
      router-id: 10.0.0.1
      neighbors:
        - {name: paris-router, address: 169.254.10.2, asn: 65001, import: [10.1.0.0/16], export: [10.20.0.0/24]}
    static-routes: [{prefix: 10.50.0.0/16, via: paris}]
vpcs:
  - name: red
    domain: prod
    vni: 100
    prefixes: [10.20.0.0/24]
    gateway: [10.20.0.1/24]
    endpoints: [{address: 10.20.0.11, mac: "02:00:00:00:64:0b", vtep: 10.255.0.11}]
tunnels:
  - {name: paris, domain: prod, local: 203.0.113.1, remote: 198.51.100.7, psk-file: /secrets/paris, inside: [169.254.10.1/30]}
)";

/// A folder of its own, removed with everything in it.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "simplon-test-XXXXXX").string();
    path_ = ::mkdtemp(pattern.data());
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace simplon::config
