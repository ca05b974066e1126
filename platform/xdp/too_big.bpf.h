/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Part of the XDP program of an uplink: ICMP "fragmentation needed" (RFC 1191 section 4) and ICMPv6 "packet too big" (RFC 4443
 * section 3.2) are copied to the forwarder, whole, since the checksum covers all of them. They go to the kernel like all ICMP.
 */
#ifndef SIMPLON_PLATFORM_XDP_TOO_BIG_BPF_H
#define SIMPLON_PLATFORM_XDP_TOO_BIG_BPF_H

#include "platform/xdp/steering_keys.h"

struct {
  __uint(type, BPF_MAP_TYPE_RINGBUF);
  __uint(max_entries, SIMPLON_XDP_TOO_BIG_RING);
} too_big SEC(".maps");

/* Messages for which the ring had no room. */
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, __u64);
} too_big_overrun SEC(".maps");

#define TOO_BIG_4 0x0304 /* type and code */
#define TOO_BIG_6 2      /* type */

/* ICMPv6 behind extension headers is not looked for, nor are later fragments. */
static __always_inline int is_too_big(struct ethhdr* ethernet, void* end) {
  if (ethernet->h_proto == bpf_htons(ETH_P_IP)) {
    struct iphdr* ip = (void*)(ethernet + 1);
    if ((void*)(ip + 1) > end || ip->ihl < 5 || ip->protocol != IPPROTO_ICMP) return 0;
    __be16* type_code = (void*)ip + ip->ihl * 4;
    return (ip->frag_off & bpf_htons(FRAGMENT_OFFSET)) == 0 && (void*)(type_code + 1) <= end &&
           *type_code == bpf_htons(TOO_BIG_4);
  }
  if (ethernet->h_proto != bpf_htons(ETH_P_IPV6)) return 0;
  struct ipv6hdr* ip = (void*)(ethernet + 1);
  __u8* type = (void*)(ip + 1);
  return (void*)(type + 1) <= end && ip->nexthdr == IPPROTO_ICMPV6 && *type == TOO_BIG_6;
}

/* The bytes from `from` on, less than a word of them; the highest byte says how many. A function that the verifier looks at once,
 * not after each number of whole words. */
__noinline __u64 last_bytes(struct xdp_md* context, __u32 from) {
  void* at = (void*)(long)context->data + (from & 0xfff);
  void* end = (void*)(long)context->data_end;
  __u64 word = 0;
  __u64 bytes = 0;
  for (; bytes < 7 && at + 1 <= end; ++bytes, ++at) word |= (__u64) * (__u8*)at << 8 * bytes;
  return bytes << 56 | word;
}

/* Likewise. */
__noinline int copy_too_big(struct xdp_md* context) {
  void* end = (void*)(long)context->data_end;
  struct ethhdr* ethernet = (void*)(long)context->data;
  if ((void*)(ethernet + 1) > end || !is_too_big(ethernet, end)) return 0;
  struct simplon_xdp_too_big* message = bpf_ringbuf_reserve(&too_big, sizeof(*message), 0);
  if (!message) {
    const __u32 zero = 0;
    __u64* overrun = bpf_map_lookup_elem(&too_big_overrun, &zero);
    if (overrun) __sync_fetch_and_add(overrun, 1);
    return 0;
  }
  void* at = ethernet + 1;
  __u32 words = 0;
  for (; words < SIMPLON_XDP_TOO_BIG_WORDS && at + 8 <= end; ++words, at += 8) message->words[words] = *(__u64*)at;
  __u32 bytes = words * 8;
  if (words < SIMPLON_XDP_TOO_BIG_WORDS) {
    __u64 last = last_bytes(context, sizeof(*ethernet) + bytes);
    message->words[words] = last;
    bytes += (__u32)(last >> 56);
  }
  message->bytes = bytes;
  bpf_ringbuf_submit(message, 0);
  return 1;
}

#endif
