/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Part of the XDP tier: the packet inside. What it must be so that the worker would forward it without looking twice, and what
 * a hop changes in it. `ip` is its first byte; IPV4_HEADER or IPV6_HEADER bytes of it are known to be there. */
#ifndef SIMPLON_PLATFORM_XDP_INNER_PACKET_BPF_H
#define SIMPLON_PLATFORM_XDP_INNER_PACKET_BPF_H

#include <linux/bpf.h>
#include <linux/in.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define IPV6_HEADER 40
#define IPV4_HEADER 20
#define UDP_HEADER 8
#define TCP_HEADER 20
#define ICMPV6_NEIGHBOR_SOLICITATION 135
#define ECN_CONGESTION 3
#define ECN_CAPABLE_0 2

/* Packets lie at any offset; clang would take the fields of a packed struct apart into bytes. */
#define U8(at) (*(__u8*)(at))
#define U16(at) (*(__u16*)(at))
#define U32(at) (*(__u32*)(at))
#define U64(at) (*(__u64*)(at))

/* Of a frame. The verifier wants the difference of the pointers whole, clang would take that of their halves. */
static __always_inline __u32 bytes_between(void* data, void* end) {
  __u64 bytes = (__u64)(end - data);
  asm volatile("" : "+r"(bytes));
  return (__u32)bytes;
}

struct inner {
  __u32 at;    /* in the frame */
  __u32 six;   /* IPv6 */
  __u32 bytes; /* without padding */
  __u32 protocol;
  __u32 ports;
  __u32 class;  /* DSCP and ECN as they came */
  __u32 marked; /* as they leave */
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

/* RFC 1624 section 3, equation 3; as in the packet. */
static __always_inline __u16 changed_checksum(__u16 checksum, __u16 before, __u16 after) {
  return (__u16)~fold32((__u64)(__u16)~checksum + (__u16)~before + after);
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

static __always_inline __u64 both(void* at) { return (__u64)U32(at + 4) << 32 | U32(at); }

/* False: the packet is not plain. `inner->six` is set; at most `most` bytes are the packet's, and `mtu` fit. */
static __always_inline int look_inside(void* ip, void* end, __u32 most, __u32 mtu, struct inner* inner) {
  void* l4;
  __u32 header;
  if (inner->six) {
    header = IPV6_HEADER;
    l4 = ip + IPV6_HEADER;
    inner->bytes = IPV6_HEADER + bpf_ntohs(U16(ip + 4));
    inner->protocol = U8(ip + 6);
    inner->class = ((__u32)(U8(ip) & 0xf) << 4) | (U8(ip + 1) >> 4);
    /* Behind any other number there may be extension headers. */
    if (inner->protocol != IPPROTO_TCP && inner->protocol != IPPROTO_UDP && inner->protocol != IPPROTO_ICMPV6) return 0;
    if (U8(ip) >> 4 != 6 || U8(ip + 7) <= 1) return 0;
  } else {
    header = IPV4_HEADER;
    l4 = ip + IPV4_HEADER;
    inner->bytes = bpf_ntohs(U16(ip + 2));
    inner->protocol = U8(ip + 9);
    inner->class = U8(ip + 1);
    if (U8(ip) != 0x45 || inner->bytes < IPV4_HEADER || U8(ip + 8) <= 1 ||
        (U16(ip + 6) & bpf_htons(MORE_FRAGMENTS | FRAGMENT_OFFSET)) != 0 || fold32(sum_ipv4(ip)) != 0xffff) {
      return 0;
    }
  }
  if (inner->bytes > most || inner->bytes > mtu) return 0;

  inner->ports = 0;
  /* A question that may be for the gateway, whatever its address leads to. */
  if (inner->six && inner->protocol == IPPROTO_ICMPV6 && (l4 + 1 > end || U8(l4) == ICMPV6_NEIGHBOR_SOLICITATION)) return 0;
  if (inner->protocol == IPPROTO_TCP || inner->protocol == IPPROTO_UDP) {
    __u32 l4_bytes = inner->bytes - header;
    __u32 present;
    if (l4 + UDP_HEADER > end || l4_bytes < UDP_HEADER) return 0;
    inner->ports = U32(l4);
    if (inner->protocol == IPPROTO_TCP) {
      /* The worker looks at the options of a SYN. */
      if (l4 + TCP_HEADER > end || l4_bytes < TCP_HEADER || (U8(l4 + 13) & 2) != 0) return 0;
      present = U16(l4 + 16);
    } else {
      present = U16(l4 + 6);
    }
    /* A checksum that the sender left partial is the worker's to complete. */
    __u64 pseudo = (__u64)bpf_htonl(l4_bytes) + bpf_htons((__u16)inner->protocol);
    if (inner->six) {
      pseudo += (__u64)U32(ip + 8) + U32(ip + 12) + U32(ip + 16) + U32(ip + 20) + U32(ip + 24) + U32(ip + 28) +
                U32(ip + 32) + U32(ip + 36);
    } else {
      pseudo += (__u64)U32(ip + 12) + U32(ip + 16);
    }
    if (present == fold32(pseudo)) return 0;
  }
  inner->marked = inner->class;
  return 1;
}

/* Congestion that was marked on the way here (RFC 6040 section 4.2, figure 4). False: the packet cannot carry the mark. */
static __always_inline int carry_mark(__u32 outer_class, struct inner* inner) {
  __u32 mark = outer_class & 3;
  if ((mark & 1) != 0 && (mark == ECN_CONGESTION || (inner->class & 3) == ECN_CAPABLE_0)) {
    if ((inner->class & 3) == 0) return 0;
    inner->marked = (inner->class & ~3u) | mark;
  }
  return 1;
}

static __always_inline __u64 ports_of(const struct inner* inner) { return ((__u64)inner->ports << 8) | inner->protocol; }

static __always_inline __u64 flow_hash4(void* ip, const struct inner* inner) {
  return mix(((__u64)U32(ip + 12) << 32) | U32(ip + 16), ports_of(inner));
}

static __always_inline __u64 flow_hash6(void* ip, const struct inner* inner) {
  return mix(mix(both(ip + 8), both(ip + 16)) ^ both(ip + 24), both(ip + 32) ^ ports_of(inner));
}

static __always_inline void hop4(void* ip, const struct inner* inner) {
  if (inner->marked != inner->class) {
    __u16 before = U16(ip);
    U8(ip + 1) = (__u8)inner->marked;
    U16(ip + 10) = changed_checksum(U16(ip + 10), before, U16(ip));
  }
  /* The sum becomes one less with the TTL, so its complement one more, with the carry brought around. */
  U8(ip + 8) -= 1;
  __u32 checksum = (__u32)U16(ip + 10) + 1;
  U16(ip + 10) = (__u16)(checksum + (checksum >= 0xffff ? 1 : 0));
}

static __always_inline void hop6(void* ip, const struct inner* inner) {
  if (inner->marked != inner->class) U8(ip + 1) = (__u8)((U8(ip + 1) & ~0x30u) | (inner->marked & 3) << 4);
  U8(ip + 7) -= 1;
}

#endif
