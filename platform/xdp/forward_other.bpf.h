/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Part of the XDP tier: whatever comes over IPv6 or with the tags of a circuit, or leaves so, or by one of several nexthops. The
 * inner packet stays where it lies; the headers in front of it grow or shrink.
 *
 *     VXLAN        | Ethernet | IPv4 (20) or IPv6 (40) | UDP | VXLAN | Ethernet | packet |     64 or 84 bytes in front of it
 *     circuit                        | Ethernet, with one tag or two (4 each)   | packet |     18 or 22
 *
 * Included by forward.bpf.h. */
#ifndef SIMPLON_PLATFORM_XDP_FORWARD_OTHER_BPF_H
#define SIMPLON_PLATFORM_XDP_FORWARD_OTHER_BPF_H

#include "platform/xdp/circuit_steering.bpf.h"

#define AT_UDP6 54
#define AT_VXLAN6 62
#define AT_INNER6 70
#define AT_INNER6_TYPE 82
#define AT_INNER6_IP 84
#define AT_FIRST_TAG 12
#define AT_TAGGED_IP 18
#define AT_TWICE_TAGGED_IP 22
/* No frame of any kind is shorter. */
#define LEAST_FRAME (AT_TAGGED_IP + IPV4_HEADER)
#define OUTER_HOPS 64

/* The part of the key that the packet inside is, and its family; false: it has no flow. */
static __always_inline int put_inner_key(void* ip, void* end, __be16 type, __u32 ingress, struct simplon_xdp_flow_key* key,
                                         struct inner* inner) {
  key->uplink = uplink;
  inner->six = type == bpf_htons(ETH_P_IPV6);
  if (inner->six) {
    if (ip + IPV6_HEADER > end) return 0;
    key->ingress = ingress | SIMPLON_XDP_INGRESS_IPV6;
    key->source[0] = U32(ip + 8);
    key->source[1] = U32(ip + 12);
    key->source[2] = U32(ip + 16);
    key->source[3] = U32(ip + 20);
    key->destination[0] = U32(ip + 24);
    key->destination[1] = U32(ip + 28);
    key->destination[2] = U32(ip + 32);
    key->destination[3] = U32(ip + 36);
  } else {
    if (type != bpf_htons(ETH_P_IP) || ip + IPV4_HEADER > end) return 0;
    key->ingress = ingress;
    key->source[0] = U32(ip + 12);
    key->destination[0] = U32(ip + 16);
    key->source[1] = key->source[2] = key->source[3] = 0;
    key->destination[1] = key->destination[2] = key->destination[3] = 0;
  }
  return 1;
}

/* Sums of the frame from `from` on, for UDP's checksum over IPv6, in the low half; how many blocks that are in the high one. The
 * helper takes whole words, at most 512 bytes of them before Linux 6.13; a frame has one page. Functions by themselves: the
 * verifier looks at each once, not at all ways through all of them. */
#define SUM_BLOCKS(name, bytes, most)                                                          \
  __noinline __u64 name(struct xdp_md* context, __u32 from) {                                  \
    void* at = (void*)(long)context->data + (from & 0xfff);                                    \
    void* end = (void*)(long)context->data_end;                                                \
    __u64 sum = 0;                                                                             \
    __u32 blocks = 0;                                                                          \
    for (; blocks < most && at + bytes <= end; ++blocks, at += bytes) {                        \
      sum = (__u32)bpf_csum_diff(0, 0, at, bytes, (__u32)sum);                                 \
    }                                                                                          \
    return (__u64)blocks << 32 | (__u32)sum;                                                   \
  }
SUM_BLOCKS(sum_blocks_512, 512, 8)
SUM_BLOCKS(sum_blocks_128, 128, 3)
SUM_BLOCKS(sum_blocks_32, 32, 3)

/* The rest, less than 32 bytes. */
__noinline __u64 sum_rest(struct xdp_md* context, __u32 from) {
  void* at = (void*)(long)context->data + (from & 0xfff);
  void* end = (void*)(long)context->data_end;
  __u64 sum = 0;
  for (int i = 0; i < 7 && at + 4 <= end; ++i, at += 4) sum += U32(at);
  if (at + 2 <= end) {
    sum += U16(at);
    at += 2;
  }
  if (at + 1 <= end) sum += U8(at);
  return sum;
}

static __always_inline __u64 sum_inner_of_vxlan6(struct xdp_md* context) {
  __u32 at = AT_INNER6_IP;
  __u64 part = sum_blocks_512(context, at);
  __u64 sum = (__u32)part;
  at += (__u32)(part >> 32) * 512;
  part = sum_blocks_128(context, at);
  sum += (__u32)part;
  at += (__u32)(part >> 32) * 128;
  part = sum_blocks_32(context, at);
  sum += (__u32)part;
  at += (__u32)(part >> 32) * 32;
  return sum + sum_rest(context, at);
}

static __always_inline void put_tags(void* data, const struct simplon_xdp_flow* flow, const struct inner* inner) {
  void* at = data + AT_FIRST_TAG;
  put_ethernet(data, flow);
  if (flow->outer_type != 0) {
    U16(at) = flow->outer_type;
    U16(at + 2) = flow->outer_vlan;
    at += sizeof(struct vlan_tag);
  }
  U16(at) = bpf_htons(ETH_P_8021Q);
  U16(at + 2) = flow->vlan;
  U16(at + 4) = inner->six ? bpf_htons(ETH_P_IPV6) : bpf_htons(ETH_P_IP);
}

/* `sum`: over the inner packet, whose bytes all count (RFC 8200 section 8.1). */
static __always_inline void put_headers6(void* data, const struct simplon_xdp_flow* flow,
                                         const struct simplon_xdp_addresses6* addresses, __u64 hash,
                                         const struct inner* inner, __u64 sum) {
  __u32 datagram = AT_INNER6_IP - AT_UDP6 + inner->bytes;
  __u16 length_field = bpf_htons((__u16)datagram);
  put_ethernet(data, flow);
  U16(data + AT_TYPE) = bpf_htons(ETH_P_IPV6);
  U32(data + AT_IP) = bpf_htonl(0x60000000 | inner->marked << 20);
  U32(data + AT_IP + 4) = bpf_htonl(datagram << 16 | IPPROTO_UDP << 8 | OUTER_HOPS);
  __builtin_memcpy(data + AT_IP + 8, addresses->outer_source, 16);
  __builtin_memcpy(data + AT_IP + 24, addresses->outer_destination, 16);
  put_vxlan(data + AT_UDP6, flow, hash, datagram);
  U16(data + AT_INNER6_TYPE) = inner->six ? bpf_htons(ETH_P_IPV6) : bpf_htons(ETH_P_IP);
  /* The length counts twice, in the pseudo header and in UDP's own. */
  __u16 checksum = (__u16)~fold32(sum + flow->checksum + 2ULL * length_field + U16(data + AT_UDP6));
  U16(data + AT_UDP6 + 6) = checksum == 0 ? 0xffff : checksum;
}

/* The worker's EcmpGroup::bucket. */
static __always_inline __u32 bucket_of(__u64 flow_hash) {
  __u32 hash = (__u32)(flow_hash >> 32);
  return ((hash ^ hash >> 16) * 0x9e3779b1U) >> 24;
}

/* Which nexthop the worker would take, by the same hash in the same buckets; 0: that is its own affair. */
static __always_inline __u32 choose_member(struct xdp_md* context, __u32 which, const struct inner* inner) {
  struct simplon_xdp_spread* spread = bpf_map_lookup_elem(&spreads, &which);
  void* ip = (void*)(long)context->data + inner->at;
  void* end = (void*)(long)context->data_end;
  if (!spread || ip + IPV4_HEADER > end) return 0;
  if (!inner->six) return spread->members[bucket_of(flow_hash4(ip, inner))];
  if (ip + IPV6_HEADER > end) return 0;
  return spread->members[bucket_of(flow_hash6(ip, inner))];
}

/* Sends on what a flow was found for by `key` and which is plain. A verdict. */
static __noinline int leave(struct xdp_md* context, struct simplon_xdp_flow_key* key, const struct simplon_xdp_flow* flow,
                            __u32 place, const struct inner* packet) {
  /* Read once: to the verifier memory may change. */
  const struct inner inner = *packet;
  if (flow->action == SIMPLON_XDP_SPREAD) {
    __u32 member = choose_member(context, flow->lane, &inner);
    if (member == 0) return NO_FLOW_POSSIBLE;
    key->ingress |= member << SIMPLON_XDP_INGRESS_MEMBER;
    flow = find_flow(key, simplon_xdp_slot(key->ingress), &place);
    if (!flow || inner.bytes > flow->mtu) return UNKNOWN;
  }
  /* Nothing is written before the egress is there; the kernel takes an interface that goes away out of the map. */
  __u32 lane_at = flow->lane;
  struct simplon_xdp_lane* lane = bpf_map_lookup_elem(&lanes, &lane_at);
  const struct simplon_xdp_addresses6* addresses = bpf_map_lookup_elem(&addresses6, &place);
  if (!lane || !addresses || bpf_redirect_map(&egresses, flow->egress, XDP_PASS) != XDP_REDIRECT) return UNKNOWN;

  __u32 headers = AT_INNER_IP;
  if (flow->action == SIMPLON_XDP_TAGGED) headers = flow->outer_type != 0 ? AT_TWICE_TAGGED_IP : AT_TAGGED_IP;
  if (flow->action == SIMPLON_XDP_VXLAN6) headers = AT_INNER6_IP;
  void* data = (void*)(long)context->data;
  void* end = (void*)(long)context->data_end;
  __u32 frame_bytes = bytes_between(data, end);
  int shift = (int)inner.at - (int)headers;
  int padding = (int)frame_bytes - (int)inner.at - (int)inner.bytes;
  if (shift != 0 && bpf_xdp_adjust_head(context, shift) != 0) return UNKNOWN;
  if (padding != 0 && bpf_xdp_adjust_tail(context, -padding) != 0) {
    /* What was in front of the packet is still there. */
    bpf_xdp_adjust_head(context, -shift);
    return UNKNOWN;
  }
  data = (void*)(long)context->data;
  end = (void*)(long)context->data_end;
  void* ip = data + headers;
  __u64 hash = 0;
  if (data + LEAST_FRAME > end) return UNKNOWN;
  if (inner.six) {
    if (ip + IPV6_HEADER > end) return UNKNOWN;
    hop6(ip, &inner);
    if (flow->action != SIMPLON_XDP_TAGGED) hash = flow_hash6(ip, &inner);
  } else {
    if (ip + IPV4_HEADER > end) return UNKNOWN;
    hop4(ip, &inner);
    if (flow->action != SIMPLON_XDP_TAGGED) hash = flow_hash4(ip, &inner);
  }
  if (flow->action == SIMPLON_XDP_TAGGED) {
    put_tags(data, flow, &inner);
  } else if (flow->action == SIMPLON_XDP_VXLAN6) {
    __u64 sum = sum_inner_of_vxlan6(context);
    if (data + AT_INNER6_IP > end) return UNKNOWN;
    put_headers6(data, flow, addresses, hash, &inner, sum);
  } else {
    if (data + AT_INNER_IP > end) return UNKNOWN;
    put_headers4(data, flow, hash, &inner);
    U16(data + AT_TYPE) = bpf_htons(ETH_P_IP);
    U16(data + AT_INNER_TYPE) = inner.six ? bpf_htons(ETH_P_IPV6) : bpf_htons(ETH_P_IP);
  }
  count(lane, inner.bytes, frame_bytes);
  return FORWARDED;
}

static __always_inline int same_address6(void* at, const __u32* address) {
  return U32(at) == address[0] && U32(at + 4) == address[1] && U32(at + 8) == address[2] && U32(at + 12) == address[3];
}

/* An IPv6 packet. Its UDP checksum is nobody's concern (RFC 7348 section 5, as over IPv4). */
static __always_inline int forward_vxlan6(struct xdp_md* context, struct simplon_xdp_flow_key* key) {
  void* data = (void*)(long)context->data;
  void* end = (void*)(long)context->data_end;
  if (data + AT_INNER6_IP + IPV4_HEADER > end) return NO_FLOW_POSSIBLE;
  if (U8(data + AT_IP) >> 4 != 6 || U8(data + AT_IP + 6) != IPPROTO_UDP ||
      (U32(data + AT_VXLAN6) & bpf_htonl(VXLAN_FLAG_VNI)) == 0) {
    return NO_FLOW_POSSIBLE;
  }
  void* ip = data + AT_INNER6_IP;
  __u32 outer_source[4];
  __builtin_memcpy(outer_source, data + AT_IP + 8, sizeof(outer_source));
  key->outer_source = simplon_xdp_fold(outer_source);
  __u32 ingress = bpf_ntohl(U32(data + AT_VXLAN6 + 4)) >> 8 | SIMPLON_XDP_VXLAN6 << SIMPLON_XDP_INGRESS_KIND;
  struct inner inner;
  if (!put_inner_key(ip, end, U16(data + AT_INNER6_TYPE), ingress, key, &inner)) return NO_FLOW_POSSIBLE;
  __u32 place;
  struct simplon_xdp_flow* flow = find_flow(key, simplon_xdp_slot(ingress), &place);
  if (!flow) return UNKNOWN;
  const struct simplon_xdp_addresses6* addresses = bpf_map_lookup_elem(&addresses6, &place);
  if (!addresses) return UNKNOWN;

  /* Outer headers, as classify and vxlan_decap want them. */
  __u32 payload = bpf_ntohs(U16(data + AT_IP + 4));
  __u32 datagram = bpf_ntohs(U16(data + AT_UDP6 + 4));
  if (!same_mac(data, flow->uplink_mac) || payload > bytes_between(data, end) - AT_UDP6 || datagram > payload ||
      !same_address6(data + AT_IP + 8, addresses->peer) || !same_address6(data + AT_IP + 24, addresses->vtep) ||
      U16(data + AT_UDP6 + 2) != flow->vtep_port[0] || !same_mac(data + AT_INNER6, flow->gateway_mac) ||
      datagram < AT_INNER6_IP - AT_UDP6 + IPV4_HEADER) {
    return UNKNOWN;
  }
  __u32 class = ((__u32)(U8(data + AT_IP) & 0xf) << 4) | (U8(data + AT_IP + 1) >> 4);
  if (!look_inside(ip, end, datagram - (AT_INNER6_IP - AT_UDP6), flow->mtu, &inner) || !carry_mark(class, &inner)) {
    return UNKNOWN;
  }
  inner.at = AT_INNER6_IP;
  return leave(context, key, flow, place, &inner);
}

/* Sources that a router does not forward; from a VPC they have no flow. RFC 1812 section 5.3.7, RFC 4291 section 2. */
static __always_inline int is_martian(void* ip, __u32 six) {
  __u8 first = U8(ip + (six ? 8 : 12));
  if (!six) return first == 0 || first == 127 || first >= 224;
  return first == 0xff || (first == 0xfe && (U8(ip + 9) & 0xc0) == 0x80) ||
         ((U32(ip + 8) | U32(ip + 12) | U32(ip + 16)) == 0 && (U32(ip + 20) & ~bpf_htonl(1)) == 0);
}

/* A frame with a tag, or two. `at`: where its packet begins. */
static __always_inline int forward_tagged(struct xdp_md* context, struct simplon_xdp_flow_key* key, __u32 at, __u32 tags,
                                          __be16 type) {
  void* data = (void*)(long)context->data;
  void* end = (void*)(long)context->data_end;
  void* ip = data + at;
  struct inner inner;
  __u32 ingress = tags | SIMPLON_XDP_TAGGED << SIMPLON_XDP_INGRESS_KIND;
  if (data + LEAST_FRAME > end || !put_inner_key(ip, end, type, ingress, key, &inner)) return NO_FLOW_POSSIBLE;
  key->source[0] = key->source[1] = key->source[2] = key->source[3] = 0;
  __u32 place;
  struct simplon_xdp_flow* flow = find_flow(key, simplon_xdp_slot(ingress), &place);
  if (!flow) return UNKNOWN;
  if (!same_mac(data, flow->uplink_mac) || is_martian(ip, inner.six) ||
      !look_inside(ip, end, bytes_between(data, end) - at, flow->mtu, &inner)) {
    return UNKNOWN;
  }
  inner.at = at;
  return leave(context, key, flow, place, &inner);
}

/* Anything but an IPv4 packet. */
static __noinline int forward_other(struct xdp_md* context, struct simplon_xdp_flow_key* key) {
  void* data = (void*)(long)context->data;
  void* end = (void*)(long)context->data_end;
  if (data + LEAST_FRAME > end) return NO_FLOW_POSSIBLE;
  __be16 type = U16(data + AT_TYPE);
  if (type == bpf_htons(ETH_P_IPV6)) return forward_vxlan6(context, key);
  if (!is_tagged(type)) return NO_FLOW_POSSIBLE;
  __u32 tags = bpf_ntohs(U16(data + AT_FIRST_TAG + 2)) & VLAN_IDENTIFIER;
  type = U16(data + AT_FIRST_TAG + 4);
  /* VLAN 0 is none. */
  if (tags == 0) return NO_FLOW_POSSIBLE;
  if (!is_tagged(type)) return forward_tagged(context, key, AT_TAGGED_IP, tags, type);
  tags = tags << 12 | (bpf_ntohs(U16(data + AT_FIRST_TAG + 6)) & VLAN_IDENTIFIER);
  return forward_tagged(context, key, AT_TWICE_TAGGED_IP, tags, U16(data + AT_FIRST_TAG + 8));
}

#endif
