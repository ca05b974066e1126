/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The XDP tier: VXLAN in, VXLAN out, over IPv4, for flows the forwarder put into the table.
 *
 * It does to a packet exactly what the worker would, byte for byte, or nothing at all: whatever is not plain, not known or not
 * right goes to the worker untouched, which forwards, answers, counts and names it. Nothing is dropped here. What depends on
 * the tables was decided when the flow was made and holds as long as its generation does; what depends on the packet is
 * checked here, in the order of the headers. */
#ifndef SIMPLON_PLATFORM_XDP_FORWARD_BPF_H
#define SIMPLON_PLATFORM_XDP_FORWARD_BPF_H

#include "platform/xdp/flow_layout.h"

/* Set before loading. Without `flows_in_use` the verifier removes all of this. */
const volatile __u8 flows_in_use = 0;
const volatile __u64 flow_seed = 0;
const volatile __u32 uplink = 0;
/* One in so many packets that miss the table is reported, with a little chance in it; 0: each. */
const volatile __u32 sample_gap = 32;

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, SIMPLON_XDP_GENERATIONS);
  __type(key, __u32);
  __type(value, __u64);
} generations SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, SIMPLON_XDP_BUCKETS);
  __type(key, __u32);
  __type(value, __u64);
} buckets SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, SIMPLON_XDP_FLOWS);
  __type(key, __u32);
  __type(value, struct simplon_xdp_flow);
} flows SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, SIMPLON_XDP_LANES);
  __type(key, __u32);
  __type(value, struct simplon_xdp_lane);
} lanes SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_DEVMAP);
  __uint(max_entries, SIMPLON_XDP_EGRESSES);
  __type(key, __u32);
  __type(value, __u32);
} egresses SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_RINGBUF);
  __uint(max_entries, SIMPLON_XDP_SAMPLE_RING);
} samples SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, __u32);
} until_sample SEC(".maps");

/* Offsets in a frame without options (RFC 7348 section 5). */
#define AT_TYPE 12
#define AT_IP 14
#define AT_UDP 34
#define AT_VXLAN 42
#define AT_INNER 50
#define AT_INNER_TYPE 62
#define AT_INNER_IP 64
#define IPV6_HEADER 40
#define IPV4_HEADER 20
#define UDP_HEADER 8
#define TCP_HEADER 20
#define VXLAN_FLAG_VNI 0x08000000
#define VXLAN_FIRST_SOURCE_PORT 49152
#define VXLAN_SOURCE_PORTS 16384
#define OUTER_TTL 64
#define ECN_CONGESTION 3
#define ECN_CAPABLE_0 2

/* Packets lie at any offset; clang would take the fields of a packed struct apart into bytes. */
#define U8(at) (*(__u8*)(at))
#define U16(at) (*(__u16*)(at))
#define U32(at) (*(__u32*)(at))
#define U64(at) (*(__u64*)(at))

enum verdict {
  NOT_VXLAN,   /* or not plain: no flow can be made of it */
  UNKNOWN,     /* no flow for it, or none that fits: `key` says which it would be */
  FORWARDED,   /* to be returned: XDP_REDIRECT */
};

static __always_inline __u32 fold32(__u64 sum) {
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  return (__u32)((sum & 0xffff) + (sum >> 16));
}

/* Over an IPv4 header without options. */
static __always_inline __u64 sum_ipv4(void* ip) {
  return (__u64)U32(ip) + U32(ip + 4) + U32(ip + 8) + U32(ip + 12) + U32(ip + 16);
}

/* Multiplies into 128 bits and folds: the worker's hash of a flow, from which its UDP source port follows. */
static __always_inline __u64 mix(__u64 a, __u64 b) {
  a ^= 0x9e3779b97f4a7c15ULL;
  b ^= 0xe7037ed1a0b428dbULL;
  __u64 a0 = a & 0xffffffff, a1 = a >> 32, b0 = b & 0xffffffff, b1 = b >> 32;
  __u64 low = a0 * b0;
  __u64 middle = a1 * b0 + (low >> 32);
  __u64 carried = a0 * b1 + (middle & 0xffffffff);
  __u64 high = a1 * b1 + (middle >> 32) + (carried >> 32);
  return ((carried << 32) | (low & 0xffffffff)) ^ high;
}

static __always_inline __u64 both(const __u32* words) { return (__u64)words[1] << 32 | words[0]; }

/* RFC 1624 section 3, equation 3; as in the packet. */
static __always_inline __u16 changed_checksum(__u16 checksum, __u16 before, __u16 after) {
  return (__u16)~fold32((__u64)(__u16)~checksum + (__u16)~before + after);
}

static __always_inline int same_mac(void* at, const __u8* mac) {
  return U32(at) == *(const __u32*)mac && U16(at + 4) == *(const __u16*)(mac + 4);
}

static __always_inline int same_key(const struct simplon_xdp_flow_key* a, const struct simplon_xdp_flow_key* b) {
  if (a->uplink != b->uplink || a->ingress != b->ingress || a->outer_source != b->outer_source ||
      a->source[0] != b->source[0] || a->destination[0] != b->destination[0]) {
    return 0;
  }
  if ((a->ingress & SIMPLON_XDP_INGRESS_IPV6) == 0) return 1;
  return a->source[1] == b->source[1] && a->source[2] == b->source[2] && a->source[3] == b->source[3] &&
         a->destination[1] == b->destination[1] && a->destination[2] == b->destination[2] &&
         a->destination[3] == b->destination[3];
}

static __always_inline struct simplon_xdp_flow* find_flow(const struct simplon_xdp_flow_key* key, __u64 generation) {
  __u64 hash = simplon_xdp_hash(flow_seed, key);
  __u32 bucket = (__u32)hash & (SIMPLON_XDP_BUCKETS - 1);
  __u64* tags = bpf_map_lookup_elem(&buckets, &bucket);
  if (!tags) return 0;
  __u64 present = *(volatile __u64*)tags;
  __u64 tag = simplon_xdp_tag(hash);
#pragma unroll
  for (__u32 way = 0; way < SIMPLON_XDP_WAYS; ++way) {
    if (((present >> (16 * way)) & 0xffff) != tag) continue;
    __u32 at = bucket * SIMPLON_XDP_WAYS + way;
    struct simplon_xdp_flow* flow = bpf_map_lookup_elem(&flows, &at);
    if (!flow) return 0;
    if (flow->generation == generation && same_key(&flow->key, key)) return flow;
  }
  return 0;
}

static __always_inline enum verdict forward_vxlan(struct xdp_md* context, struct simplon_xdp_flow_key* key) {
  void* data = (void*)(long)context->data;
  void* end = (void*)(long)context->data_end;
  if (data + AT_INNER_IP + IPV4_HEADER > end) return NOT_VXLAN;
  __u32 frame_bytes = (__u32)(end - data);
  if (U16(data + AT_TYPE) != bpf_htons(ETH_P_IP) || U8(data + AT_IP) != 0x45 || U8(data + AT_IP + 9) != IPPROTO_UDP ||
      (U16(data + AT_IP + 6) & bpf_htons(MORE_FRAGMENTS | FRAGMENT_OFFSET)) != 0 ||
      (U32(data + AT_VXLAN) & bpf_htonl(VXLAN_FLAG_VNI)) == 0) {
    return NOT_VXLAN;
  }
  void* ip = data + AT_INNER_IP;
  __u32 vni = bpf_ntohl(U32(data + AT_VXLAN + 4)) >> 8;
  __u32 six = U16(data + AT_INNER_TYPE) == bpf_htons(ETH_P_IPV6);
  key->uplink = uplink;
  key->outer_source = U32(data + AT_IP + 12);
  if (six) {
    if (ip + IPV6_HEADER > end) return NOT_VXLAN;
    key->ingress = vni | SIMPLON_XDP_INGRESS_IPV6;
    key->source[0] = U32(ip + 8);
    key->source[1] = U32(ip + 12);
    key->source[2] = U32(ip + 16);
    key->source[3] = U32(ip + 20);
    key->destination[0] = U32(ip + 24);
    key->destination[1] = U32(ip + 28);
    key->destination[2] = U32(ip + 32);
    key->destination[3] = U32(ip + 36);
  } else {
    if (U16(data + AT_INNER_TYPE) != bpf_htons(ETH_P_IP)) return NOT_VXLAN;
    key->ingress = vni;
    key->source[0] = U32(ip + 12);
    key->destination[0] = U32(ip + 16);
    key->source[1] = key->source[2] = key->source[3] = 0;
    key->destination[1] = key->destination[2] = key->destination[3] = 0;
  }

  __u32 slot = vni & (SIMPLON_XDP_GENERATIONS - 1);
  __u64* current = bpf_map_lookup_elem(&generations, &slot);
  if (!current) return NOT_VXLAN;
  /* Read once: a flow is good if it was when we looked. */
  __u64 generation = *(volatile __u64*)current;
  if (generation == 0) return UNKNOWN;
  struct simplon_xdp_flow* flow = find_flow(key, generation);
  if (!flow) return UNKNOWN;

  /* Outer headers, as classify and vxlan_decap want them. */
  __u32 total = bpf_ntohs(U16(data + AT_IP + 2));
  __u32 datagram = bpf_ntohs(U16(data + AT_UDP + 4));
  if (!same_mac(data, flow->uplink_mac) || total > frame_bytes - AT_IP || datagram + IPV4_HEADER > total ||
      fold32(sum_ipv4(data + AT_IP)) != 0xffff || U32(data + AT_IP + 16) != flow->vtep ||
      U16(data + AT_UDP + 2) != flow->vtep_port[0] || !same_mac(data + AT_INNER, flow->gateway_mac)) {
    return UNKNOWN;
  }
  __u32 most = datagram - (AT_INNER_IP - AT_UDP);
  if (datagram < AT_INNER_IP - AT_UDP + IPV4_HEADER) return UNKNOWN;

  /* The inner header; `l4` is what the transport header begins with. */
  __u32 inner_bytes, protocol, class;
  void* l4;
  if (six) {
    inner_bytes = IPV6_HEADER + bpf_ntohs(U16(ip + 4));
    protocol = U8(ip + 6);
    class = ((__u32)(U8(ip) & 0xf) << 4) | (U8(ip + 1) >> 4);
    l4 = ip + IPV6_HEADER;
    /* Behind any other number there may be extension headers. */
    if (protocol != IPPROTO_TCP && protocol != IPPROTO_UDP && protocol != IPPROTO_ICMPV6) return UNKNOWN;
    if (U8(ip) >> 4 != 6 || U8(ip + 7) <= 1) return UNKNOWN;
  } else {
    inner_bytes = bpf_ntohs(U16(ip + 2));
    protocol = U8(ip + 9);
    class = U8(ip + 1);
    l4 = ip + IPV4_HEADER;
    if (U8(ip) != 0x45 || inner_bytes < IPV4_HEADER || U8(ip + 8) <= 1 ||
        (U16(ip + 6) & bpf_htons(MORE_FRAGMENTS | FRAGMENT_OFFSET)) != 0 || fold32(sum_ipv4(ip)) != 0xffff) {
      return UNKNOWN;
    }
  }
  if (inner_bytes > most || inner_bytes > flow->mtu) return UNKNOWN;

  __u32 ports = 0;
  if (protocol == IPPROTO_TCP || protocol == IPPROTO_UDP) {
    __u32 l4_bytes = inner_bytes - (six ? IPV6_HEADER : IPV4_HEADER);
    __u32 present;
    if (l4 + UDP_HEADER > end || l4_bytes < UDP_HEADER) return UNKNOWN;
    ports = U32(l4);
    if (protocol == IPPROTO_TCP) {
      /* The worker looks at the options of a SYN. */
      if (l4 + TCP_HEADER > end || l4_bytes < TCP_HEADER || (U8(l4 + 13) & 2) != 0) return UNKNOWN;
      present = U16(l4 + 16);
    } else {
      present = U16(l4 + 6);
    }
    /* A checksum that the sender left partial is the worker's to complete. */
    __u64 pseudo = (__u64)bpf_htonl(l4_bytes) + bpf_htons((__u16)protocol) + key->source[0] + key->destination[0];
    if (six) {
      pseudo += (__u64)key->source[1] + key->source[2] + key->source[3] + key->destination[1] + key->destination[2] +
                key->destination[3];
    }
    if (present == fold32(pseudo)) return UNKNOWN;
  }

  /* Congestion that was marked on the way here (RFC 6040 section 4.2, figure 4). */
  __u32 mark = U8(data + AT_IP + 1) & 3;
  __u32 marked = class;
  if ((mark & 1) != 0 && (mark == ECN_CONGESTION || (class & 3) == ECN_CAPABLE_0)) {
    if ((class & 3) == 0) return UNKNOWN;
    marked = (class & ~3u) | mark;
  }

  /* Nothing is written before the egress is there; the kernel takes an interface that goes away out of the map. */
  __u32 lane_at = flow->lane;
  struct simplon_xdp_lane* lane = bpf_map_lookup_elem(&lanes, &lane_at);
  if (!lane || bpf_redirect_map(&egresses, flow->egress, XDP_PASS) != XDP_REDIRECT) return UNKNOWN;
  if (frame_bytes != AT_INNER_IP + inner_bytes) {
    /* Padding of short frames. */
    if (bpf_xdp_adjust_tail(context, (int)(AT_INNER_IP + inner_bytes) - (int)frame_bytes) != 0) return UNKNOWN;
    data = (void*)(long)context->data;
    end = (void*)(long)context->data_end;
    ip = data + AT_INNER_IP;
    if (data + AT_INNER_IP + IPV4_HEADER > end || (six && ip + IPV6_HEADER > end)) return UNKNOWN;
  }

  __u64 flow_hash;
  if (six) {
    flow_hash = mix(mix(both(key->source), both(key->source + 2)) ^ both(key->destination),
                    both(key->destination + 2) ^ (((__u64)ports << 8) | protocol));
    if (marked != class) U8(ip + 1) = (__u8)((U8(ip + 1) & ~0x30u) | (marked & 3) << 4);
    U8(ip + 7) -= 1;
  } else {
    flow_hash = mix(((__u64)key->source[0] << 32) | key->destination[0], ((__u64)ports << 8) | protocol);
    if (marked != class) {
      __u16 before = U16(ip);
      U8(ip + 1) = (__u8)marked;
      U16(ip + 10) = changed_checksum(U16(ip + 10), before, U16(ip));
    }
    /* The sum becomes one less with the TTL, so its complement one more, with the carry brought around. */
    U8(ip + 8) -= 1;
    __u32 checksum = (__u32)U16(ip + 10) + 1;
    U16(ip + 10) = (__u16)(checksum + (checksum >= 0xffff ? 1 : 0));
  }
  __u16 port = (__u16)(VXLAN_FIRST_SOURCE_PORT + ((__u32)(flow_hash >> 32) & (VXLAN_SOURCE_PORTS - 1)));

  U64(data) = *(__u64*)flow->ethernet;
  U32(data + 8) = *(__u32*)(flow->ethernet + 8);
  __u16 total_field = bpf_htons((__u16)(AT_INNER_IP - AT_IP + inner_bytes));
  U16(data + AT_IP) = bpf_htons((__u16)(0x4500 | marked));
  U16(data + AT_IP + 2) = total_field;
  U32(data + AT_IP + 4) = bpf_htonl(0x4000); /* don't fragment, and no identification */
  U16(data + AT_IP + 8) = bpf_htons(OUTER_TTL << 8 | IPPROTO_UDP);
  U16(data + AT_IP + 10) = (__u16)~fold32((__u64)flow->checksum + bpf_htons((__u16)marked) + total_field);
  U32(data + AT_IP + 12) = flow->outer_source;
  U32(data + AT_IP + 16) = flow->outer_destination;
  U16(data + AT_UDP) = bpf_htons(port);
  U16(data + AT_UDP + 2) = flow->vtep_port[1];
  U32(data + AT_UDP + 4) = bpf_htonl((AT_INNER_IP - AT_UDP + inner_bytes) << 16); /* no checksum: RFC 7348 section 5 */
  U32(data + AT_VXLAN) = bpf_htonl(VXLAN_FLAG_VNI);
  U32(data + AT_VXLAN + 4) = flow->vni;
  U64(data + AT_INNER) = *(__u64*)flow->inner_ethernet;
  U32(data + AT_INNER + 8) = *(__u32*)(flow->inner_ethernet + 8);

  lane->packets += 1;
  lane->inner_bytes += inner_bytes;
  lane->frame_bytes += frame_bytes;
  return FORWARDED;
}

/* Tells the forwarder of some of the flows it might make. */
static __always_inline void report(const struct simplon_xdp_flow_key* key) {
  __u32 zero = 0;
  __u32* left = bpf_map_lookup_elem(&until_sample, &zero);
  if (!left) return;
  if (*left > 0) {
    *left -= 1;
    return;
  }
  *left = sample_gap == 0 ? 0 : sample_gap / 2 + bpf_get_prandom_u32() % sample_gap;
  bpf_ringbuf_output(&samples, (void*)key, sizeof(*key), 0);
}

#endif
