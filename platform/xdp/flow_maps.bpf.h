/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Part of the XDP tier: the maps it shares with the forwarder, how a flow is found, and how one is asked for. */
#ifndef SIMPLON_PLATFORM_XDP_FLOW_MAPS_BPF_H
#define SIMPLON_PLATFORM_XDP_FLOW_MAPS_BPF_H

#include "platform/xdp/flow_layout.h"
#include "platform/xdp/inner_packet.bpf.h"

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
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, SIMPLON_XDP_FLOWS);
  __type(key, __u32);
  __type(value, struct simplon_xdp_addresses6);
} addresses6 SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, SIMPLON_XDP_SPREADS);
  __type(key, __u32);
  __type(value, struct simplon_xdp_spread);
} spreads SEC(".maps");

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

#define AT_IP 14

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

/* `slot`: of its generation. `place`: where it stands in the arrays of flows. */
static __always_inline struct simplon_xdp_flow* find_flow(const struct simplon_xdp_flow_key* key, __u32 slot, __u32* place) {
  __u64* current = bpf_map_lookup_elem(&generations, &slot);
  if (!current) return 0;
  /* Read once: a flow is good if it was when we looked. */
  __u64 generation = *(volatile __u64*)current;
  if (generation == 0) return 0;
  __u64 hash = simplon_xdp_hash(flow_seed, key);
  __u32 bucket = (__u32)hash & (SIMPLON_XDP_BUCKETS - 1);
  __u64* tags = bpf_map_lookup_elem(&buckets, &bucket);
  if (!tags) return 0;
  __u64 present = *(volatile __u64*)tags;
  __u64 tag = simplon_xdp_tag(hash);
#pragma unroll
  for (__u32 way = 0; way < SIMPLON_XDP_WAYS; ++way) {
    if (((present >> (16 * way)) & 0xffff) != tag) continue;
    *place = bucket * SIMPLON_XDP_WAYS + way;
    struct simplon_xdp_flow* flow = bpf_map_lookup_elem(&flows, place);
    if (!flow) return 0;
    if (flow->generation == generation && same_key(&flow->key, key)) return flow;
  }
  return 0;
}

/* Tells the forwarder of some of the flows it might make. What it has on the stack is not there while a packet is forwarded. */
static __noinline void report(struct xdp_md* context, const struct simplon_xdp_flow_key* key) {
  __u32 zero = 0;
  __u32* left = bpf_map_lookup_elem(&until_sample, &zero);
  if (!left) return;
  if (*left > 0) {
    *left -= 1;
    return;
  }
  *left = sample_gap == 0 ? 0 : sample_gap / 2 + bpf_get_prandom_u32() % sample_gap;
  struct simplon_xdp_sample sample = {.key = *key, .outer_source = {key->outer_source}};
  if (key->ingress >> SIMPLON_XDP_INGRESS_KIND == SIMPLON_XDP_VXLAN6) {
    void* data = (void*)(long)context->data;
    if (data + AT_IP + IPV6_HEADER > (void*)(long)context->data_end) return;
    __builtin_memcpy(sample.outer_source, data + AT_IP + 8, sizeof(sample.outer_source));
  }
  bpf_ringbuf_output(&samples, &sample, sizeof(sample), 0);
}

#endif
