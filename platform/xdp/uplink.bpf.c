// SPDX-License-Identifier: GPL-2.0-or-later
//
// The XDP program of an uplink: ours goes to the worker's AF_XDP socket of the receive queue, everything else to the
// kernel. Ours is, without IPv6 extension headers but that of a fragment:
//
//     UDP to (one of our VTEP addresses, its VXLAN port), unfragmented
//     ESP to one of our IPsec addresses
//     UDP 4500 to one of our IPsec addresses whose first word is not zero (RFC 3948 section 2.2: zero is the non-ESP
//     marker, IKE) and that is longer than 4 bytes (section 2.3: a keepalive is one byte)
//     every frame in the VLAN of a circuit
//
// so IKE, keepalives, ARP, ND, ICMP, BGP of the underlay, and all other fragments (which the kernel may reassemble) pass.
//
// What of it keeps routing alive goes to a socket of its own (control.bpf.h).
//
// Of what passes, what routers say about the MTU of a path is copied to the forwarder (too_big.bpf.h).
//
// Before that, a packet of a flow that the forwarder put into the flow table is forwarded at once (forward.bpf.h).
// Only UAPI structs are used: no BTF of the running kernel is needed.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/udp.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "platform/xdp/circuit_steering.bpf.h"
#include "platform/xdp/steering_keys.h"
#include "platform/xdp/fragments.bpf.h"

struct {
  __uint(type, BPF_MAP_TYPE_XSKMAP);
  __uint(max_entries, SIMPLON_XDP_MAX_QUEUES);
  __type(key, __u32);
  __type(value, __u32);
} sockets SEC(".maps");

/* Where frames wait that find no socket: between two processes (docs/adr/0029). */
struct {
  __uint(type, BPF_MAP_TYPE_DEVMAP);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, __u32);
} backlog SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, SIMPLON_XDP_MAX_ADDRESSES);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, struct simplon_xdp_vtep);
  __type(value, __u8);
} vteps SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, SIMPLON_XDP_MAX_ADDRESSES);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, struct simplon_xdp_address);
  __type(value, __u8);
} ipsec_addresses SEC(".maps");

// Given by RFC 791 section 3.1.
#define MORE_FRAGMENTS 0x2000
#define FRAGMENT_OFFSET 0x1fff
// Given by RFC 8200 section 4.5.
#define IPV6_FRAGMENT_OFFSET 0xfff8
struct fragment_header {
  __u8 next_header;
  __u8 reserved;
  __be16 offset_more;
  __be32 id;
};
// Given by RFC 7296 section 2.23.
#define IPSEC_NAT_T_PORT 4500

#include "platform/xdp/control.bpf.h"
#include "platform/xdp/forward.bpf.h"
#include "platform/xdp/too_big.bpf.h"

/* What is ours, and whether a flood of data may push it out. */
enum { NOT_OURS, OURS, OUR_ESP, OUR_CONTROL };

static __always_inline int is_esp(const struct simplon_xdp_address* destination, __u8 protocol, void* l4, void* end) {
  if (protocol == IPPROTO_UDP) {
    struct udphdr* udp = l4;
    if ((void*)(udp + 1) > end || udp->dest != bpf_htons(IPSEC_NAT_T_PORT)) return 0;
    __u32* first_word = (void*)(udp + 1);
    if ((void*)(first_word + 1) > end) return 0;
    // The length of the datagram, not of the frame: short frames are padded to 60 bytes.
    if (bpf_ntohs(udp->len) <= sizeof(*udp) + sizeof(*first_word) || *first_word == 0) return 0;
  } else if (protocol != IPPROTO_ESP) {
    return 0;
  }
  return bpf_map_lookup_elem(&ipsec_addresses, destination) != 0;
}

static __always_inline int is_ours(const struct simplon_xdp_address* destination, __u8 protocol, void* l4, void* end) {
  if (is_esp(destination, protocol, l4, end)) return OUR_ESP;
  struct udphdr* udp = l4;
  if (protocol != IPPROTO_UDP || (void*)(udp + 1) > end) return 0;
  struct simplon_xdp_vtep vtep = {.address = *destination, .port = udp->dest, .reserved = 0};
  return bpf_map_lookup_elem(&vteps, &vtep) != 0;
}

/* Set before loading. The frame may have more pieces than the one between data and data_end. */
const volatile __u8 multi_buffer = 0;

/* Of a frame in pieces only the first can be read, and it leaves in as many: the worker has it. */
static __always_inline int in_pieces(struct xdp_md* context) {
  if (!multi_buffer) return 0;
  return bpf_xdp_get_buff_len(context) != bytes_between((void*)(long)context->data, (void*)(long)context->data_end);
}

/* A function by itself: what it has on the stack is not there while a packet is forwarded. */
static __noinline int whose(struct xdp_md* context) {
  void* data = (void*)(long)context->data;
  void* end = (void*)(long)context->data_end;
  struct ethhdr* ethernet = data;
  if ((void*)(ethernet + 1) > end) return NOT_OURS;

  struct simplon_xdp_address destination = {};
  int ours = NOT_OURS;
  if (ethernet->h_proto == bpf_htons(ETH_P_IP)) {
    struct iphdr* ip = (void*)(ethernet + 1);
    if ((void*)(ip + 1) > end || ip->ihl < 5) return NOT_OURS;
    void* l4 = (void*)ip + ip->ihl * 4;
    destination.words[2] = bpf_htonl(0xffff);
    destination.words[3] = ip->daddr;
    if ((ip->frag_off & bpf_htons(MORE_FRAGMENTS | FRAGMENT_OFFSET)) != 0) {
      struct simplon_xdp_packet packet = {.destination = destination, .id = ip->id, .protocol = ip->protocol};
      packet.source.words[2] = bpf_htonl(0xffff);
      packet.source.words[3] = ip->saddr;
      const int first = (ip->frag_off & bpf_htons(FRAGMENT_OFFSET)) == 0;
      ours = fragment_is_ours(&packet, first, first && is_esp(&destination, ip->protocol, l4, end));
    } else {
      ours = is_ours(&destination, ip->protocol, l4, end);
      if (ours == OUR_ESP && is_control_class(ip->tos)) ours = OUR_CONTROL;
    }
  } else if (ethernet->h_proto == bpf_htons(ETH_P_IPV6)) {
    struct ipv6hdr* ip = (void*)(ethernet + 1);
    if ((void*)(ip + 1) > end) return NOT_OURS;
    __builtin_memcpy(&destination, &ip->daddr, sizeof(destination));
    struct fragment_header* fragment = (void*)(ip + 1);
    if (ip->nexthdr == IPPROTO_FRAGMENT && (void*)(fragment + 1) <= end) {
      struct simplon_xdp_packet packet = {.destination = destination, .id = fragment->id, .protocol = fragment->next_header};
      __builtin_memcpy(&packet.source, &ip->saddr, sizeof(packet.source));
      const int first = (fragment->offset_more & bpf_htons(IPV6_FRAGMENT_OFFSET)) == 0;
      ours = fragment_is_ours(&packet, first, first && is_esp(&destination, fragment->next_header, fragment + 1, end));
    } else {
      ours = is_ours(&destination, ip->nexthdr, ip + 1, end);
      /* The class lies across two bytes. */
      const __u8 traffic_class = (__u8)(bpf_ntohs(*(__be16*)ip) >> 4);
      if (ours == OUR_ESP && is_control_class(traffic_class)) ours = OUR_CONTROL;
    }
  } else if (is_tagged(ethernet->h_proto)) {
    ours = is_circuit(ethernet, end, context->ingress_ifindex);
    if (ours && is_circuit_control(ethernet, end)) ours = OUR_CONTROL;
  }
  return ours;
}

SEC("xdp")
int simplon_uplink(struct xdp_md* context) {
  void* data = (void*)(long)context->data;
  if (data + sizeof(struct ethhdr) > (void*)(long)context->data_end) return XDP_PASS;

  struct simplon_xdp_flow_key key = {};
  int verdict = NO_FLOW_POSSIBLE;
  if (flows_in_use && !in_pieces(context)) {
    // What is expected decides which of them is laid out for speed.
    verdict = __builtin_expect(U16(data + AT_TYPE) == bpf_htons(ETH_P_IP), 1) ? forward_vxlan(context, &key)
                                                                              : forward_other(context, &key);
    if (verdict == FORWARDED) return XDP_REDIRECT;
  }
  // The packet is as it came.
  const int ours = whose(context);
  if (ours == NOT_OURS) {
    copy_too_big(context);
    return XDP_PASS;
  }
  if (verdict == UNKNOWN) report(context, &key);
  if (ours == OUR_CONTROL && bpf_redirect_map(&control_sockets, context->rx_queue_index, XDP_ABORTED) == XDP_REDIRECT) {
    return XDP_REDIRECT;
  }
  if (bpf_redirect_map(&sockets, context->rx_queue_index, XDP_ABORTED) == XDP_REDIRECT) return XDP_REDIRECT;
  // Without a socket on this queue and without a place to wait the kernel gets it, and answers as for a closed port.
  return bpf_redirect_map(&backlog, 0, XDP_PASS);
}

char program_license[] SEC("license") = "GPL";
