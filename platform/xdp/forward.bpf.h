/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The XDP tier: VXLAN over IPv4 or IPv6 and the tagged frames of circuits, each into each, for flows the forwarder put into
 * the table. Here is VXLAN to VXLAN over IPv4 by the only nexthop, whose headers keep their places; forward_other.bpf.h has all
 * others.
 *
 * It does to a packet exactly what the worker would, byte for byte, or nothing at all: whatever is not plain, not known or not
 * right goes to the worker untouched, which forwards, answers, counts and names it. Nothing is dropped here. What depends on
 * the tables was decided when the flow was made and holds as long as its generation does; what depends on the packet is
 * checked here, in the order of the headers. */
#ifndef SIMPLON_PLATFORM_XDP_FORWARD_BPF_H
#define SIMPLON_PLATFORM_XDP_FORWARD_BPF_H

#include "platform/xdp/flow_maps.bpf.h"
#include "platform/xdp/inner_packet.bpf.h"

/* Offsets in a frame without options (RFC 7348 section 5). */
#define AT_TYPE 12
#define AT_UDP 34
#define AT_VXLAN 42
#define AT_INNER 50
#define AT_INNER_TYPE 62
#define AT_INNER_IP 64
#define VXLAN_FLAG_VNI 0x08000000
#define VXLAN_FIRST_SOURCE_PORT 49152
#define VXLAN_SOURCE_PORTS 16384
#define OUTER_TTL 64

enum verdict {
  NO_FLOW_POSSIBLE, /* none in use, neither VXLAN nor of a circuit, not plain, or for a nexthop that is the worker's */
  FORWARDED,        /* to be returned: XDP_REDIRECT */
  UNKNOWN,          /* no flow for it, or none that fits: `key` says which it would be */
};

/* The VXLAN header and what surrounds it, at the UDP header; but for UDP's checksum. */
static __always_inline void put_vxlan(void* udp, const struct simplon_xdp_flow* flow, __u64 hash, __u32 datagram) {
  __u16 port = (__u16)(VXLAN_FIRST_SOURCE_PORT + ((__u32)(hash >> 32) & (VXLAN_SOURCE_PORTS - 1)));
  U16(udp) = bpf_htons(port);
  U16(udp + 2) = flow->vtep_port[1];
  U32(udp + 4) = bpf_htonl(datagram << 16);
  U32(udp + AT_VXLAN - AT_UDP) = bpf_htonl(VXLAN_FLAG_VNI);
  U32(udp + AT_VXLAN - AT_UDP + 4) = flow->vni;
  U64(udp + AT_INNER - AT_UDP) = *(__u64*)flow->inner_ethernet;
  U32(udp + AT_INNER - AT_UDP + 8) = *(__u32*)(flow->inner_ethernet + 8);
}

static __always_inline void put_ethernet(void* data, const struct simplon_xdp_flow* flow) {
  U64(data) = *(__u64*)flow->ethernet;
  U32(data + 8) = *(__u32*)(flow->ethernet + 8);
}

/* All headers in front of the inner packet but the types of both Ethernet headers. */
static __always_inline void put_headers4(void* data, const struct simplon_xdp_flow* flow, __u64 hash,
                                         const struct inner* inner) {
  __u16 total_field = bpf_htons((__u16)(AT_INNER_IP - AT_IP + inner->bytes));
  put_ethernet(data, flow);
  U16(data + AT_IP) = bpf_htons((__u16)(0x4500 | inner->marked));
  U16(data + AT_IP + 2) = total_field;
  U32(data + AT_IP + 4) = bpf_htonl(0x4000); /* don't fragment, and no identification */
  U16(data + AT_IP + 8) = bpf_htons(OUTER_TTL << 8 | IPPROTO_UDP);
  U16(data + AT_IP + 10) = (__u16)~fold32((__u64)flow->checksum + bpf_htons((__u16)inner->marked) + total_field);
  U32(data + AT_IP + 12) = flow->outer_source;
  U32(data + AT_IP + 16) = flow->outer_destination;
  /* No UDP checksum: RFC 7348 section 5. */
  put_vxlan(data + AT_UDP, flow, hash, AT_INNER_IP - AT_UDP + inner->bytes);
}

static __always_inline void count(struct simplon_xdp_lane* lane, __u32 inner_bytes, __u32 frame_bytes) {
  lane->packets += 1;
  lane->inner_bytes += inner_bytes;
  lane->frame_bytes += frame_bytes;
}

#include "platform/xdp/forward_other.bpf.h"

/* An IPv4 packet. */
static __always_inline int forward_vxlan(struct xdp_md* context, struct simplon_xdp_flow_key* key) {
  void* data = (void*)(long)context->data;
  void* end = (void*)(long)context->data_end;
  if (data + AT_INNER_IP + IPV4_HEADER > end) return NO_FLOW_POSSIBLE;
  __u32 frame_bytes = (__u32)(end - data);
  if (U8(data + AT_IP) != 0x45 || U8(data + AT_IP + 9) != IPPROTO_UDP ||
      (U16(data + AT_IP + 6) & bpf_htons(MORE_FRAGMENTS | FRAGMENT_OFFSET)) != 0 ||
      (U32(data + AT_VXLAN) & bpf_htonl(VXLAN_FLAG_VNI)) == 0) {
    return NO_FLOW_POSSIBLE;
  }
  void* ip = data + AT_INNER_IP;
  __u32 vni = bpf_ntohl(U32(data + AT_VXLAN + 4)) >> 8;
  struct inner inner;
  key->outer_source = U32(data + AT_IP + 12);
  if (!put_inner_key(ip, end, U16(data + AT_INNER_TYPE), vni, key, &inner)) return NO_FLOW_POSSIBLE;
  __u32 place;
  struct simplon_xdp_flow* flow = find_flow(key, simplon_xdp_slot(vni), &place);
  if (!flow) return UNKNOWN;

  /* Outer headers, as classify and vxlan_decap want them. */
  __u32 total = bpf_ntohs(U16(data + AT_IP + 2));
  __u32 datagram = bpf_ntohs(U16(data + AT_UDP + 4));
  if (!same_mac(data, flow->uplink_mac) || total > frame_bytes - AT_IP || datagram + IPV4_HEADER > total ||
      fold32(sum_ipv4(data + AT_IP)) != 0xffff || U32(data + AT_IP + 16) != flow->vtep ||
      U16(data + AT_UDP + 2) != flow->vtep_port[0] || !same_mac(data + AT_INNER, flow->gateway_mac) ||
      datagram < AT_INNER_IP - AT_UDP + IPV4_HEADER) {
    return UNKNOWN;
  }
  if (!look_inside(ip, end, datagram - (AT_INNER_IP - AT_UDP), flow->mtu, &inner) ||
      !carry_mark(U8(data + AT_IP + 1), &inner)) {
    return UNKNOWN;
  }
  if (__builtin_expect(flow->action != SIMPLON_XDP_VXLAN, 0)) {
    /* What a function has a pointer to stays in memory; `inner` shall not. */
    struct inner copy = inner;
    copy.at = AT_INNER_IP;
    return leave(context, key, flow, place, &copy);
  }

  /* Nothing is written before the egress is there; the kernel takes an interface that goes away out of the map. */
  __u32 lane_at = flow->lane;
  struct simplon_xdp_lane* lane = bpf_map_lookup_elem(&lanes, &lane_at);
  if (!lane || bpf_redirect_map(&egresses, flow->egress, XDP_PASS) != XDP_REDIRECT) return UNKNOWN;
  if (frame_bytes != AT_INNER_IP + inner.bytes) {
    /* Padding of short frames. */
    if (bpf_xdp_adjust_tail(context, (int)(AT_INNER_IP + inner.bytes) - (int)frame_bytes) != 0) return UNKNOWN;
    data = (void*)(long)context->data;
    end = (void*)(long)context->data_end;
    ip = data + AT_INNER_IP;
    if (data + AT_INNER_IP + IPV4_HEADER > end || (inner.six && ip + IPV6_HEADER > end)) return UNKNOWN;
  }
  __u64 hash;
  if (inner.six) {
    hop6(ip, &inner);
    hash = flow_hash6(ip, &inner);
  } else {
    hop4(ip, &inner);
    hash = flow_hash4(ip, &inner);
  }
  put_headers4(data, flow, hash, &inner);
  count(lane, inner.bytes, frame_bytes);
  return FORWARDED;
}

#endif
