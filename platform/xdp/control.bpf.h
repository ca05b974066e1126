/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Part of the XDP program of an uplink: which of our packets keep routing and neighbors alive. They go to a socket with a receive
 * ring of its own, which a flood of data cannot fill:
 *
 *     in the VLAN of a circuit: ARP, neighbor discovery, BGP (TCP port 179, either end), BFD (UDP to 3784, 3785, 4784)
 *     ESP whose outer traffic class is CS6 or CS7: peers copy the inner one, and routing daemons set it (RFC 4594 section 3.1)
 *
 * Everybody can mark packets so; therefore the worker takes a few of them per turn only. Not the outer class of VXLAN: it
 * may be a copy of what a virtual machine wrote.
 */
#ifndef SIMPLON_PLATFORM_XDP_CONTROL_BPF_H
#define SIMPLON_PLATFORM_XDP_CONTROL_BPF_H

#include "platform/xdp/circuit_steering.bpf.h"
#include "platform/xdp/steering_keys.h"

struct {
  __uint(type, BPF_MAP_TYPE_XSKMAP);
  __uint(max_entries, SIMPLON_XDP_MAX_QUEUES);
  __type(key, __u32);
  __type(value, __u32);
} control_sockets SEC(".maps");

/* Given by RFC 4861 section 4, RFC 4271 section 8, RFC 5881 section 4 and RFC 5883 section 5. */
#define ROUTER_SOLICITATION 133
#define NEIGHBOR_ADVERTISEMENT 136
#define BGP_PORT 179
#define BFD_PORT 3784
#define BFD_ECHO_PORT 3785
#define BFD_MULTIHOP_PORT 4784

/* CS6 or CS7 (RFC 2474 section 4.2.2), with any ECN. */
static __always_inline int is_control_class(__u8 traffic_class) {
  return (traffic_class & 0xdc) == 0xc0;
}

static __always_inline int is_control_protocol(__u8 protocol, void* l4, void* end) {
  struct udphdr* udp = l4;
  if ((void*)(udp + 1) > end) return 0;
  /* The ports of TCP are at the same place. */
  if (protocol == IPPROTO_TCP) return udp->dest == bpf_htons(BGP_PORT) || udp->source == bpf_htons(BGP_PORT);
  if (protocol != IPPROTO_UDP) return 0;
  return udp->dest == bpf_htons(BFD_PORT) || udp->dest == bpf_htons(BFD_ECHO_PORT) ||
         udp->dest == bpf_htons(BFD_MULTIHOP_PORT);
}

/* Of a frame with one tag or two, which is whole as far as the first tag. */
static __always_inline int is_circuit_control(struct ethhdr* ethernet, void* end) {
  struct vlan_tag* tag = (void*)(ethernet + 1);
  if ((void*)(tag + 1) > end) return 0;
  if (is_tagged(tag->type)) {
    ++tag;
    if ((void*)(tag + 1) > end) return 0;
  }
  if (tag->type == bpf_htons(ETH_P_ARP)) return 1;
  if (tag->type == bpf_htons(ETH_P_IP)) {
    struct iphdr* ip = (void*)(tag + 1);
    if ((void*)(ip + 1) > end || ip->ihl < 5) return 0;
    if ((ip->frag_off & bpf_htons(FRAGMENT_OFFSET)) != 0) return 0;
    return is_control_protocol(ip->protocol, (void*)ip + ip->ihl * 4, end);
  }
  if (tag->type != bpf_htons(ETH_P_IPV6)) return 0;
  struct ipv6hdr* ip = (void*)(tag + 1);
  if ((void*)(ip + 1) > end) return 0;
  if (ip->nexthdr != IPPROTO_ICMPV6) return is_control_protocol(ip->nexthdr, ip + 1, end);
  __u8* type = (void*)(ip + 1);
  if ((void*)(type + 1) > end) return 0;
  return *type >= ROUTER_SOLICITATION && *type <= NEIGHBOR_ADVERTISEMENT;
}

#endif
