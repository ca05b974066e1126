// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <span>

namespace simplon::forward {

struct Burst;
struct Packet;

// The stages, in packet order. Each takes its queue of the burst, and puts every packet of it into another queue or drops
// it. No allocation, system call or log line; locks only around what several workers share: spare frames and slots (FramePool), replay
// windows (sa_sharing.h). Their order is in pipeline.h.

/// What was received: plain frames of VPCs to `express`, all else to `received`. Not of a watched worker.
void express_in(Burst& burst, std::span<const Packet> frames) noexcept;
/// Plain packets, those in `inner` too, all the way to `express.departures` or `to_tunnel`; those that turn out to be something
/// else to `inner` or `resolving`.
void express_out(Burst& burst) noexcept;

/// Outer headers: which tunnel protocol is it, and whose VNI? `received` to `vxlan_in`, `esp_in`, `circuit_in`, or (from host
/// ports) `resolving` and `to_uplink`.
void classify(Burst& burst) noexcept;
/// RFC 7348: may the VPC send that? `vxlan_in` to `inner`; answers to ARP requests and neighbor solicitations to `to_vpc`.
void vxlan_decap(Burst& burst) noexcept;
/// RFC 4303: which SA? Of the packets in `esp_in`.
void esp_lookup(Burst& burst) noexcept;
/// RFC 4303: is it new, is it authentic? `esp_in` to `inner`.
void esp_decrypt(Burst& burst) noexcept;
/// IEEE 802.1Q: whose VLAN is it, is it ours to forward? `circuit_in` to `inner`, or `to_host`.
void circuit_decap(Burst& burst) noexcept;
/// RFC 1812: is it a packet, where does its domain send it? `inner` to `resolving`, `to_host` or `policed`.
void ip_forward(Burst& burst) noexcept;
/// Access lists, NAT and rates, in domains that have some: `policed` to `resolving` or `to_host`.
void police(Burst& burst) noexcept;
/// Endpoint or SA, and adjacency; or neighbor. `resolving` to `to_vpc`, `to_tunnel`, `to_circuit` or `to_host`.
void resolve(Burst& burst) noexcept;
/// Does it fit? Fragments, MSS, and the hop count last. Filters `to_vpc`, `to_tunnel` and `to_circuit`.
void pmtu(Burst& burst) noexcept;
/// Answers to dropped packets. `unanswered` to `resolving`.
void icmp_errors(Burst& burst) noexcept;
/// `to_vpc` to `to_uplink`.
void vxlan_encap(Burst& burst) noexcept;
/// `to_tunnel` to `to_uplink`.
void esp_encrypt(Burst& burst) noexcept;
/// `to_circuit` to `to_uplink`.
void circuit_encap(Burst& burst) noexcept;
/// `to_uplink` and `to_host` to their ports.
void transmit(Burst& burst) noexcept;

}  // namespace simplon::forward
